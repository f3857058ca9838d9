#include "layout.h"

reflow_bytes key_of(char letter, reflow_uuid id) {
  reflow_buffer key = {0};
  reflow_append_byte(&key, (uint8_t)letter);
  reflow_append_uuid(&key, id);
  return reflow_bytes_of(&key);
}

reflow_bytes time_key(int64_t start, reflow_uuid id) {
  reflow_buffer key = {0};
  reflow_append_byte(&key, 't');
  reflow_append_sortable(&key, start);
  reflow_append_uuid(&key, id);
  return reflow_bytes_of(&key);
}

// ---- Events ----

enum { LONGEST_NAME = 1024 - 17 };

// A name that does not fit into a key.
static bool store_names(reflow_batch events, const char *field, char letter, reflow_changes *changes, reflow_error *error) {
  reflow_uuid *traces, *ids;
  reflow_texts names;
  if (!reflow_batch_uuids(events, "trace-id", &traces, error) || !reflow_batch_uuids(events, "event-id", &ids, error) ||
      !reflow_batch_texts(events, field, &names, error)) {
    return false;
  }
  for (size_t i = 0; i < names.ends.len; i++) {
    reflow_string name = reflow_text_at(&names, i);
    reflow_buffer key = {0};
    reflow_append_byte(&key, (uint8_t)letter);
    reflow_append_uuid(&key, traces[i]);
    bool fits = name.len <= LONGEST_NAME;
    if (fits) {
      reflow_append(&key, name.ptr, name.len);
    } else {
      reflow_append_byte(&key, 0xff);
      reflow_append_uuid(&key, ids[i]);
    }
    reflow_set(changes, reflow_bytes_of(&key), reflow_bytes_of_text(fits ? reflow_text("") : name));
  }
  return true;
}

bool store_batch(reflow_batch events, reflow_error *error) {
  reflow_part trace = reflow_sortable("trace-id");
  reflow_part event_key[] = {reflow_fixed("e"), trace, reflow_sortable("timestamp"), reflow_sortable("event-id")};
  reflow_part event_value[] = {reflow_field("body")};
  reflow_part error_key[] = {reflow_fixed("x"), trace, reflow_present("error")};
  reflow_part actor_key[] = {reflow_fixed("a"), trace, reflow_sortable("actor-id")};
  reflow_part kind_key[] = {reflow_fixed("k"), trace, reflow_sortable("event-type")};
  reflow_event_entry entries[] = {
      {{event_key, 4}, {event_value, 1}},
      {{error_key, 3}, {NULL, 0}},
      {{actor_key, 3}, {NULL, 0}},
      {{kind_key, 3}, {NULL, 0}},
  };
  if (reflow_insert_batch(bucket, entries, 4, events, error)) return true;
  if (error->tag != REFLOW_EXHAUSTED) return false;
  // A name may be too long for a key.
  reflow_changes changes = {0};
  return store_names(events, "actor-id", 'a', &changes, error) && store_names(events, "event-type", 'k', &changes, error) &&
         reflow_apply(bucket, &changes, error) && reflow_insert_batch(bucket, entries, 2, events, error);
}

bool any_name(char letter, reflow_uuid id, name_test *test, const void *argument, bool *found, reflow_error *error) {
  reflow_optional_bytes start = {0};
  reflow_listing listing = reflow_list(bucket, key_of(letter, id), start, false);
  reflow_entry entry;
  *found = false;
  while (!*found && reflow_next(&listing, &entry, error)) {
    reflow_string name = {entry.key.ptr + 17, entry.key.len - 17};
    if (name.len > 0 && name.ptr[0] == 0xff) {
      name.ptr = entry.value.ptr;
      name.len = entry.value.len;
    }
    *found = test(name, argument);
  }
  return !listing.failed;
}

// ---- Headers ----

bool read_headers(const reflow_uuid *ids, size_t count, reflow_optional_bytes **values, reflow_error *error) {
  reflow_bytes *keys = reflow_alloc(count * sizeof *keys);
  for (size_t i = 0; i < count; i++) keys[i] = key_of('h', ids[i]);
  return reflow_get_many(bucket, keys, count, values, error);
}
