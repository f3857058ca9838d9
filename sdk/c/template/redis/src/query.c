#include "query.h"

#include <string.h>

// How many traces a query reads at a time.
enum { CHUNK = 100 };

static bool is_one_of(reflow_string name, const plugin_list_string_t *names) {
  for (size_t i = 0; i < names->len; i++) {
    if (reflow_equal(name, names->ptr[i])) return true;
  }
  return false;
}

// Whether the names of the trace's events match.
static bool names_match(const reflow_query *query, const reflow_trace *header, const reflow_reply *names) {
  bool has_actor = !query->actor.is_some, has_kind = !query->event_types.is_some;
  bool failed = header->status == REFLOW_STORAGE_TYPES_STATUS_FAILED;
  for (size_t i = 0; i < names->len; i++) {
    reflow_bytes member = names->elements[i].bytes;
    reflow_string name = {member.ptr + 1, member.len - 1};
    switch (member.ptr[0]) {
      case 'a':
        has_actor = has_actor || reflow_contains(name, query->actor.val);
        break;
      case 'k':
        has_kind = has_kind || is_one_of(name, &query->event_types.val);
        failed = failed || reflow_equal(name, reflow_text("ActorFailed"));
        break;
      case 'x':
        failed = failed || reflow_equal(name, reflow_text("1"));
        break;
    }
  }
  return has_actor && has_kind && !(query->has_error.is_some && query->has_error.val != failed);
}

// Forgets those headers whose traces have not the events that the query asks for.
static bool filter_by_events(const reflow_query *query, const reflow_uuid *ids, stored *found, size_t count, reflow_error *error) {
  if (!query->actor.is_some && !query->event_types.is_some && !query->has_error.is_some) return true;
  reflow_commands commands = {0};
  for (size_t i = 0; i < count; i++) {
    if (found[i].is_some) reflow_command(&commands, "SMEMBERS names:%b", reflow_bytes_of_text(reflow_uuid_text(ids[i])));
  }
  reflow_reply *names;
  if (!reflow_redis_run(server, &commands, &names, error)) return false;
  for (size_t i = 0; i < count; i++) {
    if (found[i].is_some) found[i].is_some = names_match(query, &found[i].header, names++);
  }
  return true;
}

// Moves the place to the mark, and gives back what was behind it.
static reflow_bytes kept(reflow_bytes place, reflow_mark mark) {
  uint8_t copy[START_PLACE];
  memcpy(copy, place.ptr, START_PLACE);
  reflow_release(mark);
  reflow_buffer made = {0};
  reflow_append(&made, copy, START_PLACE);
  return reflow_bytes_of(&made);
}

bool walk(const reflow_query *query, reflow_optional_bytes place, match_visitor *visit, void *argument, reflow_error *error) {
  int64_t earliest = query->start_from.is_some ? query->start_from.val : INT64_MIN;
  int64_t latest = query->start_to.is_some ? query->start_to.val : INT64_MAX;
  reflow_uuid none = {0, 0};
  reflow_bytes first = start_place(query->ascending ? earliest : latest, none, query->ascending);
  reflow_bytes last = start_place(query->ascending ? latest : earliest, none, query->ascending);
  last.len = sizeof(int64_t);
  reflow_bytes end = up_to(last), begin = from(first);
  // A token of another query may lie outside the bounds.
  if (place.is_some && reflow_compare(place.val, first) >= 0) begin = after(place.val);
  for (reflow_mark mark = reflow_get_mark();;) {
    reflow_commands commands = {0};
    reflow_command(&commands, "ZRANGEBYLEX %s %b %b LIMIT 0 %d", query->ascending ? "earliest" : "latest", begin, end, CHUNK);
    reflow_reply *places;
    if (!reflow_redis_run(server, &commands, &places, error)) return false;
    reflow_uuid ids[CHUNK];
    stored *found;
    for (size_t i = 0; i < places->len; i++) ids[i] = reflow_read_uuid(places->elements[i].bytes.ptr + 8);
    if (!read_headers(ids, places->len, &found, error)) return false;
    for (size_t i = 0; i < places->len; i++) {
      // A place that a concurrent writer or a deletion left behind belongs to no header.
      found[i].is_some = found[i].is_some && header_matches(&found[i].header, query) &&
                         found[i].header.start_time == start_of(places->elements[i].bytes, query->ascending);
    }
    if (!filter_by_events(query, ids, found, places->len, error)) return false;
    bool visited = false;
    for (size_t i = 0; i < places->len; i++) {
      visited = visited || found[i].is_some;
      if (found[i].is_some && !visit(places->elements[i].bytes, &found[i].header, argument)) return true;
    }
    if (places->len < CHUNK) return true;
    // A walk may be long: the memory of what was not visited is given back.
    reflow_bytes next = places->elements[places->len - 1].bytes;
    begin = after(visited ? next : kept(next, mark));
    if (visited) mark = reflow_get_mark();
  }
}
