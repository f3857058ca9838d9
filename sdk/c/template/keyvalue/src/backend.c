// A backend of reflow-tracing over one bucket of ordered keys and values. Several instances may work on the bucket at a time:
// what belongs together is written by one reflow_apply, all or nothing, and nothing is kept in memory.
#include "layout.h"
#include "query.h"

#include <string.h>

reflow_bucket bucket;

// Opens the bucket that the operator granted: grants = { keyvalue = { default = "file:traces.kv" } }.
bool backend_open(reflow_string config, reflow_info *info, reflow_error *error) {
  if (!reflow_equal(config, reflow_text("{}"))) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "this plugin has no settings, but was given %.*s", REFLOW_ARG(config));
  }
  info->name = reflow_text(PLUGIN_NAME);
  info->version = reflow_text("0.1.0");
  reflow_log(REFLOW_CAPABILITIES_LOG_LEVEL_DEBUG, "opened");
  return reflow_open("default", &bucket, error);
}

static bool comes_again(const reflow_trace *traces, size_t count, size_t index) {
  for (size_t i = index + 1; i < count; i++) {
    if (reflow_compare_uuids(traces[i].trace_id, traces[index].trace_id) == 0) return true;
  }
  return false;
}

// Sets each header together with its key by start time. That key of an earlier header goes when the start changed; one that a
// concurrent writer leaves behind belongs to no header, and is passed over.
bool backend_store_traces(const reflow_trace *traces, size_t count, reflow_error *error) {
  reflow_uuid *ids = reflow_alloc(count * sizeof *ids);
  for (size_t i = 0; i < count; i++) ids[i] = traces[i].trace_id;
  reflow_optional_bytes *stored;
  if (!read_headers(ids, count, &stored, error)) return false;
  reflow_changes changes = {0};
  for (size_t i = 0; i < count; i++) {
    // Of several headers for one trace, the last one is stored.
    if (comes_again(traces, count, i)) continue;
    reflow_trace earlier;
    if (stored[i].is_some) {
      if (!decode_header(stored[i].val, &earlier, error)) return false;
      if (earlier.start_time != traces[i].start_time) reflow_delete(&changes, time_key(earlier.start_time, ids[i]));
    }
    reflow_set(&changes, key_of('h', ids[i]), encode_header(&traces[i]));
    reflow_set(&changes, time_key(traces[i].start_time, ids[i]), reflow_bytes_of_text(reflow_text("")));
  }
  return reflow_apply(bucket, &changes, error);
}

// The host stores the batch: no event enters the plugin.
bool backend_store_events(reflow_batch events, reflow_error *error) { return store_batch(events, error); }

bool backend_get_traces(const reflow_uuid *ids, size_t count, reflow_optional_bytes *bodies, reflow_error *error) {
  reflow_optional_bytes *values;
  if (!read_headers(ids, count, &values, error)) return false;
  for (size_t i = 0; i < count; i++) {
    reflow_trace trace;
    if (!values[i].is_some) continue;
    if (!decode_header(values[i].val, &trace, error)) return false;
    bodies[i] = reflow_some(trace.body);
  }
  return true;
}

// What a query has collected.
typedef struct {
  reflow_trace_page *answer;
  uint64_t skip;
  uint32_t limit;
  match last;
} collector;

static bool collect(const match *found, void *argument) {
  collector *collector = argument;
  reflow_trace_page *answer = collector->answer;
  if (collector->skip > 0) {
    collector->skip--;
    return true;
  }
  if (answer->bodies.len == collector->limit) {
    answer->next = reflow_some(page_token(&collector->last));
    return false;
  }
  answer->bodies.ptr[answer->bodies.len++] = found->body;
  collector->last = *found;
  return true;
}

bool backend_query_traces(const reflow_query *query, reflow_page page, reflow_trace_page *answer, reflow_error *error) {
  if (query->more.len > 0) {
    return reflow_fail(error, REFLOW_UNSUPPORTED, "the predicate `%.*s`", REFLOW_ARG(query->more.ptr[0].f0));
  }
  position after;
  if (!parse_token(page.token, &after, error)) return false;
  answer->bodies.ptr = reflow_alloc(page.limit * sizeof *answer->bodies.ptr);
  collector collector = {.answer = answer, .skip = page.offset, .limit = page.limit};
  return walk(query, after, collect, &collector, error);
}

// The host fills the answer. The token is the cursor of the listing.
bool backend_get_events(reflow_uuid trace, reflow_page page, reflow_event_page *answer, reflow_error *error) {
  reflow_optional_bytes cursor = page.token;
  for (uint64_t skip = page.offset; skip > 0;) {
    reflow_event_page skipped;
    uint32_t limit = skip < 10000 ? (uint32_t)skip : 10000;
    if (!reflow_scan_events(bucket, key_of('e', trace), cursor, limit, &skipped, error)) return false;
    skip -= reflow_batch_len(reflow_storage_batch_borrow_event_batch(skipped.events));
    reflow_storage_batch_event_batch_drop_own(skipped.events);
    cursor = skipped.next;
    if (!cursor.is_some) return true;
  }
  return reflow_scan_events(bucket, key_of('e', trace), cursor, page.limit, answer, error);
}

// Deletes the header first, so that no query finds a trace that has lost events. A trace is counted as long as anything of it is left,
// so a call that was interrupted can be repeated.
static bool delete_trace(reflow_uuid id, bool *existed, reflow_error *error) {
  reflow_changes changes = {0};
  reflow_optional_bytes *value;
  if (!read_headers(&id, 1, &value, error)) return false;
  *existed = value->is_some;
  if (value->is_some) {
    reflow_trace trace;
    if (!decode_header(value->val, &trace, error)) return false;
    reflow_delete(&changes, key_of('h', id));
    reflow_delete(&changes, time_key(trace.start_time, id));
  }
  for (const char *letter = "eakx"; *letter; letter++) {
    reflow_optional_bytes start = {0};
    reflow_listing listing = reflow_list(bucket, key_of(*letter, id), start, false);
    reflow_entry entry;
    while (reflow_next(&listing, &entry, error)) {
      *existed = *existed || *letter == 'e';
      reflow_delete(&changes, entry.key);
      if (changes.len >= 1000 && !reflow_apply(bucket, &changes, error)) return false;
    }
    if (listing.failed) return false;
  }
  return reflow_apply(bucket, &changes, error);
}

bool backend_delete_traces(const reflow_uuid *ids, size_t count, uint64_t *deleted, reflow_error *error) {
  for (size_t i = 0; i < count; i++) {
    bool existed;
    reflow_mark mark = reflow_get_mark();
    if (!delete_trace(ids[i], &existed, error)) return false;
    reflow_release(mark);
    *deleted += existed;
  }
  return true;
}

static bool first_start(const match *found, void *argument) {
  reflow_storage_types_option_timestamp_t *start = argument;
  start->is_some = true;
  start->val = found->start;
  return false;
}

bool backend_stats(reflow_stats *stats, reflow_error *error) {
  reflow_query query = {.ascending = true};
  position none = {0};
  if (!reflow_count(bucket, reflow_bytes_of_text(reflow_text("h")), &stats->traces, error) ||
      !reflow_count(bucket, reflow_bytes_of_text(reflow_text("e")), &stats->events, error) ||
      !walk(&query, none, first_start, &stats->oldest, error)) {
    return false;
  }
  query.ascending = false;
  return walk(&query, none, first_start, &stats->newest, error);
}

// Attempts a write whose condition never holds.
bool backend_health_check(reflow_error *error) {
  bool done;
  reflow_optional_bytes never = reflow_some(reflow_bytes_of_text(reflow_text("never"))), none = {0};
  return reflow_compare_and_set(bucket, reflow_bytes_of_text(reflow_text("health")), never, none, &done, error);
}
