// A backend of reflow-tracing over a Redis server. Several instances may work on the server at a time: what belongs together is written by
// one transaction, and nothing is kept in memory.
#include "layout.h"
#include "query.h"

#include <string.h>

reflow_redis server;

// Opens the server that the operator granted: grants = { redis = { default = "redis://127.0.0.1:6379/0" } }.
bool backend_open(reflow_string config, reflow_info *info, reflow_error *error) {
  if (!reflow_equal(config, reflow_text("{}"))) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "this plugin has no settings, but was given %.*s", REFLOW_ARG(config));
  }
  info->name = reflow_text(PLUGIN_NAME);
  info->version = reflow_text("0.1.0");
  return reflow_redis_open("default", &server, error);
}

static bool apply(reflow_commands *commands, reflow_error *error) {
  return reflow_redis_atomically(server, NULL, 0, commands, NULL, NULL, error);
}

static bool comes_again(const reflow_trace *traces, size_t count, size_t index) {
  for (size_t i = index + 1; i < count; i++) {
    if (reflow_compare_uuids(traces[i].trace_id, traces[index].trace_id) == 0) return true;
  }
  return false;
}

// Stores each header together with its places by start time. Those of an earlier header go when the start changed; ones that a concurrent
// writer leaves behind belong to no header, and are passed over.
bool backend_store_traces(const reflow_trace *traces, size_t count, reflow_error *error) {
  reflow_uuid *ids = reflow_alloc(count * sizeof *ids);
  for (size_t i = 0; i < count; i++) ids[i] = traces[i].trace_id;
  stored *earlier;
  if (!read_headers(ids, count, &earlier, error)) return false;
  reflow_commands commands = {0};
  for (size_t i = 0; i < count; i++) {
    // Of several headers for one trace, the last one is stored.
    if (comes_again(traces, count, i)) continue;
    int64_t start = traces[i].start_time;
    if (earlier[i].is_some && earlier[i].header.start_time != start) leave(&commands, earlier[i].header.start_time, ids[i]);
    reflow_command(&commands, "HSET headers %b %b", id_bytes(ids[i]), encode_header(&traces[i]));
    enter(&commands, start, ids[i]);
  }
  return apply(&commands, error);
}

// The host runs the commands for each event: none enters the plugin. The body comes last, so a batch that was cut off is stored by the
// next attempt.
bool backend_store_events(reflow_batch events, reflow_error *error) {
#define PLACE "{sort:trace-id}{sort:timestamp}{sort:event-id}"
  reflow_template is_stored = reflow_fill("HEXISTS bodies " PLACE);
  reflow_template commands[] = {
      reflow_fill("SADD names:{trace-id} a{actor-id} k{event-type} x{has:error}"),
      reflow_fill("ZADD events 0 " PLACE),
      reflow_fill("HSETNX bodies " PLACE " {body}"),
  };
  return reflow_redis_run_batch(server, &is_stored, commands, 3, events, error);
}

bool backend_get_traces(const reflow_uuid *ids, size_t count, reflow_optional_bytes *bodies, reflow_error *error) {
  stored *found;
  if (!read_headers(ids, count, &found, error)) return false;
  for (size_t i = 0; i < count; i++) {
    if (found[i].is_some) bodies[i] = reflow_some(found[i].header.body);
  }
  return true;
}

// What a query has collected.
typedef struct {
  reflow_trace_page *answer;
  uint64_t skip;
  uint32_t limit;
  reflow_bytes last;
} collector;

static bool collect(reflow_bytes place, const reflow_trace *header, void *argument) {
  collector *collector = argument;
  reflow_trace_page *answer = collector->answer;
  if (collector->skip > 0) {
    collector->skip--;
    return true;
  }
  if (answer->bodies.len == collector->limit) {
    answer->next = reflow_some(collector->last);
    return false;
  }
  answer->bodies.ptr[answer->bodies.len++] = header->body;
  collector->last = place;
  return true;
}

// The token is the place of the last trace.
bool backend_query_traces(const reflow_query *query, reflow_page page, reflow_trace_page *answer, reflow_error *error) {
  if (query->more.len > 0) {
    return reflow_fail(error, REFLOW_UNSUPPORTED, "the predicate `%.*s`", REFLOW_ARG(query->more.ptr[0].f0));
  }
  if (page.token.is_some && page.token.val.len != START_PLACE) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "the page token is not one of this plugin's");
  }
  answer->bodies.ptr = reflow_alloc(page.limit * sizeof *answer->bodies.ptr);
  collector collector = {.answer = answer, .skip = page.offset, .limit = page.limit};
  return walk(query, page.token, collect, &collector, error);
}

// The places of a trace's events, from the bound on.
static bool read_places(reflow_bytes first, reflow_uuid trace, uint64_t offset, uint32_t limit, reflow_reply **places,
                        reflow_error *error) {
  reflow_commands commands = {0};
  reflow_command(&commands, "ZRANGEBYLEX events %b %b LIMIT %llu %u", first, up_to(id_bytes(trace)), (unsigned long long)offset,
                 (unsigned)limit);
  return reflow_redis_run(server, &commands, places, error);
}

// Reads the places of a page; the host fills the answer with their bodies. The token is the last place.
bool backend_get_events(reflow_uuid trace, reflow_page page, reflow_event_page *answer, reflow_error *error) {
  reflow_bytes first = from(id_bytes(trace));
  if (page.token.is_some) {
    if (page.token.val.len != EVENT_PLACE || reflow_compare_uuids(reflow_read_uuid(page.token.val.ptr), trace) != 0) {
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "the page token is not one of this plugin's");
    }
    first = after(page.token.val);
  }
  // An offset beyond what Redis can count is beyond all events.
  uint64_t offset = page.offset > INT64_MAX ? INT64_MAX : page.offset;
  reflow_reply *places;
  if (!read_places(first, trace, offset, page.limit, &places, error)) return false;
  if (places->len == 0) return true;
  if (places->len == page.limit) answer->next = reflow_some(places->elements[places->len - 1].bytes);
  reflow_commands commands = {0};
  reflow_command(&commands, "HMGET bodies");
  for (size_t i = 0; i < places->len; i++) reflow_argument(&commands, places->elements[i].bytes);
  return reflow_redis_query_events(server, &commands, &answer->events, error);
}

// Deletes a piece of a trace's events, and says whether there was one.
static bool delete_events(reflow_uuid id, bool *found, reflow_error *error) {
  reflow_reply *places;
  if (!read_places(from(id_bytes(id)), id, 0, 1000, &places, error)) return false;
  *found = places->len > 0;
  if (!*found) return true;
  reflow_commands commands = {0};
  reflow_command(&commands, "HDEL bodies");
  for (size_t i = 0; i < places->len; i++) reflow_argument(&commands, places->elements[i].bytes);
  reflow_command(&commands, "ZREM events");
  for (size_t i = 0; i < places->len; i++) reflow_argument(&commands, places->elements[i].bytes);
  return apply(&commands, error);
}

// Deletes the header first, so that no query finds a trace that has lost events. A trace is counted as long as anything of it is left, so a
// call that was interrupted can be repeated.
static bool delete_trace(reflow_uuid id, bool *existed, reflow_error *error) {
  stored *header;
  if (!read_headers(&id, 1, &header, error)) return false;
  *existed = header->is_some;
  reflow_commands commands = {0};
  if (header->is_some) {
    leave(&commands, header->header.start_time, id);
    reflow_command(&commands, "HDEL headers %b", id_bytes(id));
    if (!apply(&commands, error)) return false;
  }
  for (bool found = true; found;) {
    reflow_mark mark = reflow_get_mark();
    if (!delete_events(id, &found, error)) return false;
    reflow_release(mark);
    *existed = *existed || found;
  }
  reflow_command(&commands, "DEL names:%b", reflow_bytes_of_text(reflow_uuid_text(id)));
  return apply(&commands, error);
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

static bool first_start(reflow_bytes place, const reflow_trace *header, void *argument) {
  (void)place;
  reflow_storage_types_option_timestamp_t *start = argument;
  start->is_some = true;
  start->val = header->start_time;
  return false;
}

bool backend_stats(reflow_stats *stats, reflow_error *error) {
  reflow_commands commands = {0};
  reflow_command(&commands, "HLEN headers");
  reflow_command(&commands, "HLEN bodies");
  reflow_reply *counts;
  reflow_query query = {.ascending = true};
  reflow_optional_bytes none = {0};
  if (!reflow_redis_run(server, &commands, &counts, error) || !walk(&query, none, first_start, &stats->oldest, error)) return false;
  stats->traces = (uint64_t)counts[0].integer;
  stats->events = (uint64_t)counts[1].integer;
  query.ascending = false;
  return walk(&query, none, first_start, &stats->newest, error);
}

// Attempts a write that changes nothing: Redis checks what a write needs, and then does not create the key.
bool backend_health_check(reflow_error *error) {
  reflow_commands commands = {0};
  reflow_command(&commands, "SETRANGE health 0");
  reflow_bytes empty = {NULL, 0};
  reflow_argument(&commands, empty);
  return reflow_redis_run(server, &commands, NULL, error);
}
