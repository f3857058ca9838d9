// Ordered keys and values.
#include "reflow.h"

#ifdef REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_NO_SUCH_LABEL
#include <string.h>

// How many entries a page of a listing has: a compromise between the number of calls and the memory.
enum { PAGE = 1000 };

typedef reflow_capabilities_keyvalue_keyvalue_error_t kv_error;

static bool failed(const kv_error *found, reflow_error *error) {
  // All cases with a value are a text.
  reflow_string text = found->val.other;
  switch (found->tag) {
    case REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_NO_SUCH_LABEL:
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT,
                         "no bucket is granted under the label `%.*s`: add grants = { keyvalue = { %.*s = \"...\" } }",
                         REFLOW_ARG(text), REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_INVALID_ARGUMENT:
    case REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_ACCESS_DENIED:
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_TIMEOUT:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "the bucket did not answer in time");
    case REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_UNAVAILABLE:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_LIMIT_EXCEEDED:
      return reflow_fail(error, REFLOW_EXHAUSTED, "%.*s", REFLOW_ARG(text));
    default:
      return reflow_fail(error, REFLOW_OTHER, "%.*s", REFLOW_ARG(text));
  }
}

static reflow_bytes *pointer(reflow_optional_bytes *bytes) { return bytes->is_some ? &bytes->val : NULL; }

bool reflow_open(const char *label, reflow_bucket *bucket, reflow_error *error) {
  reflow_string name = reflow_text(label);
  reflow_capabilities_keyvalue_own_bucket_t opened;
  kv_error problem;
  if (!reflow_capabilities_keyvalue_static_bucket_open(&name, &opened, &problem)) return failed(&problem, error);
  *bucket = reflow_capabilities_keyvalue_borrow_bucket(opened);
  return true;
}

bool reflow_get(reflow_bucket bucket, reflow_bytes key, reflow_optional_bytes *value, reflow_error *error) {
  kv_error problem;
  return reflow_capabilities_keyvalue_method_bucket_get(bucket, &key, value, &problem) || failed(&problem, error);
}

bool reflow_get_many(reflow_bucket bucket, reflow_bytes *keys, size_t count, reflow_optional_bytes **values, reflow_error *error) {
  plugin_list_list_u8_t wanted = {keys, count};
  plugin_list_option_list_u8_t found;
  kv_error problem;
  if (!reflow_capabilities_keyvalue_method_bucket_get_many(bucket, &wanted, &found, &problem)) return failed(&problem, error);
  *values = found.ptr;
  return true;
}

bool reflow_compare_and_set(reflow_bucket bucket, reflow_bytes key, reflow_optional_bytes expected, reflow_optional_bytes value,
                            bool *done, reflow_error *error) {
  kv_error problem;
  return reflow_capabilities_keyvalue_method_bucket_compare_and_set(bucket, &key, pointer(&expected), pointer(&value), NULL, done,
                                                                    &problem) ||
         failed(&problem, error);
}

bool reflow_count(reflow_bucket bucket, reflow_bytes prefix, uint64_t *count, reflow_error *error) {
  kv_error problem;
  return reflow_capabilities_keyvalue_method_bucket_count(bucket, &prefix, count, &problem) || failed(&problem, error);
}

static reflow_capabilities_keyvalue_change_t *add(reflow_changes *changes) {
  if (changes->len == changes->capacity) {
    size_t wanted = changes->capacity ? 2 * changes->capacity : 16;
    reflow_capabilities_keyvalue_change_t *grown = reflow_alloc(wanted * sizeof *grown);
    if (changes->len) memcpy(grown, changes->ptr, changes->len * sizeof *grown);
    changes->ptr = grown;
    changes->capacity = wanted;
  }
  return &changes->ptr[changes->len++];
}

void reflow_set(reflow_changes *changes, reflow_bytes key, reflow_bytes value) {
  reflow_capabilities_keyvalue_change_t *change = add(changes);
  change->tag = REFLOW_CAPABILITIES_KEYVALUE_CHANGE_SET;
  change->val.set.key = key;
  change->val.set.value = value;
}

void reflow_delete(reflow_changes *changes, reflow_bytes key) {
  reflow_capabilities_keyvalue_change_t *change = add(changes);
  change->tag = REFLOW_CAPABILITIES_KEYVALUE_CHANGE_DELETE;
  change->val.delete_ = key;
}

bool reflow_apply(reflow_bucket bucket, reflow_changes *changes, reflow_error *error) {
  if (changes->len == 0) return true;
  reflow_capabilities_keyvalue_list_change_t all = {changes->ptr, changes->len};
  changes->len = 0;
  kv_error problem;
  return reflow_capabilities_keyvalue_method_bucket_apply(bucket, &all, NULL, &problem) || failed(&problem, error);
}

reflow_listing reflow_list(reflow_bucket bucket, reflow_bytes prefix, reflow_optional_bytes cursor, bool reverse) {
  reflow_listing listing = {0};
  listing.bucket = bucket;
  listing.prefix = prefix;
  listing.reverse = reverse;
  listing.limit = PAGE;
  listing.next = cursor;
  return listing;
}

bool reflow_next(reflow_listing *listing, reflow_entry *entry, reflow_error *error) {
  while (listing->index == listing->len) {
    if (listing->failed || (listing->started && !listing->next.is_some)) return false;
    listing->started = true;
    listing->cursor = listing->next;
    reflow_capabilities_keyvalue_entry_page_t page;
    kv_error problem;
    if (!reflow_capabilities_keyvalue_method_bucket_scan(listing->bucket, &listing->prefix, pointer(&listing->cursor), listing->limit,
                                                         listing->reverse, &page, &problem)) {
      listing->failed = true;
      return failed(&problem, error);
    }
    listing->entries = page.entries.ptr;
    listing->len = page.entries.len;
    listing->index = 0;
    listing->next = page.next;
  }
  *entry = listing->entries[listing->index++];
  return true;
}

static reflow_part part(uint8_t tag, const char *text) {
  reflow_part made;
  made.tag = tag;
  // All cases have a pointer and a length.
  made.val.field = reflow_text(text);
  return made;
}

reflow_part reflow_fixed(const char *text) { return part(REFLOW_CAPABILITIES_KEYVALUE_PART_FIXED, text); }
reflow_part reflow_field(const char *name) { return part(REFLOW_CAPABILITIES_KEYVALUE_PART_FIELD, name); }
reflow_part reflow_sortable(const char *name) { return part(REFLOW_CAPABILITIES_KEYVALUE_PART_SORTABLE, name); }
reflow_part reflow_present(const char *name) { return part(REFLOW_CAPABILITIES_KEYVALUE_PART_PRESENT, name); }

bool reflow_insert_batch(reflow_bucket bucket, reflow_event_entry *entries, size_t count, reflow_batch batch, reflow_error *error) {
  reflow_capabilities_keyvalue_list_event_entry_t all = {entries, count};
  uint64_t inserted;
  kv_error problem;
  return reflow_capabilities_keyvalue_method_bucket_insert_batch(bucket, &all, batch, NULL, &inserted, &problem) ||
         failed(&problem, error);
}

bool reflow_scan_events(reflow_bucket bucket, reflow_bytes prefix, reflow_optional_bytes cursor, uint32_t limit,
                        reflow_event_page *page, reflow_error *error) {
  reflow_capabilities_keyvalue_event_page_t found;
  kv_error problem;
  if (!reflow_capabilities_keyvalue_method_bucket_scan_events(bucket, &prefix, pointer(&cursor), limit, false, &found, &problem)) {
    return failed(&problem, error);
  }
  page->events = found.events;
  page->next = found.next;
  return true;
}
#endif
