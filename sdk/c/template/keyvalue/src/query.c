#include "query.h"

#include <stdlib.h>
#include <string.h>

// ---- Tokens ----

reflow_bytes page_token(const match *match) {
  reflow_buffer token = {0};
  reflow_append_byte(&token, match->cursor.is_some);
  reflow_append_sortable(&token, match->start);
  reflow_append_uuid(&token, match->id);
  if (match->cursor.is_some) reflow_append(&token, match->cursor.val.ptr, match->cursor.val.len);
  return reflow_bytes_of(&token);
}

bool parse_token(reflow_optional_bytes token, position *after, reflow_error *error) {
  memset(after, 0, sizeof *after);
  if (!token.is_some) return true;
  reflow_bytes text = token.val;
  if (text.len < TIME_KEY || text.ptr[0] > 1 || (text.ptr[0] == 0 && text.len > TIME_KEY)) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "the page token is not one of this plugin's");
  }
  after->is_some = true;
  after->start = reflow_read_sortable(text.ptr + 1);
  after->id = reflow_read_uuid(text.ptr + 9);
  after->cursor.is_some = text.ptr[0];
  after->cursor.val.ptr = text.ptr + TIME_KEY;
  after->cursor.val.len = text.len - TIME_KEY;
  return true;
}

// ---- Predicates ----

static bool holds(reflow_string name, const void *part) { return reflow_contains(name, *(const reflow_string *)part); }

static bool is_one_of(reflow_string name, const void *argument) {
  const plugin_list_string_t *names = argument;
  for (size_t i = 0; i < names->len; i++) {
    if (reflow_equal(name, names->ptr[i])) return true;
  }
  return false;
}

static bool has_error(reflow_uuid id, const reflow_trace *trace, bool *found, reflow_error *error) {
  *found = trace->status == REFLOW_STORAGE_TYPES_STATUS_FAILED;
  if (*found) return true;
  reflow_string failed = reflow_text("ActorFailed");
  plugin_list_string_t kinds = {&failed, 1};
  if (!any_name('k', id, is_one_of, &kinds, found, error)) return false;
  if (*found) return true;
  reflow_buffer key = {0};
  reflow_append_byte(&key, 'x');
  reflow_append_uuid(&key, id);
  reflow_append_byte(&key, '1');
  reflow_optional_bytes value;
  if (!reflow_get(bucket, reflow_bytes_of(&key), &value, error)) return false;
  *found = value.is_some;
  return true;
}

static bool matches(const reflow_query *query, reflow_uuid id, const reflow_trace *trace, bool *matching, reflow_error *error) {
  *matching = header_matches(trace, query);
  if (*matching && query->actor.is_some && !any_name('a', id, holds, &query->actor.val, matching, error)) return false;
  if (*matching && query->event_types.is_some && !any_name('k', id, is_one_of, &query->event_types.val, matching, error)) {
    return false;
  }
  if (*matching && query->has_error.is_some) {
    bool found;
    if (!has_error(id, trace, &found, error)) return false;
    *matching = found == query->has_error.val;
  }
  return true;
}

// ---- The walk ----
// By start time, in the order of the query; equal starts by ascending id either way. A listing in reverse order has those by
// descending id, so they are listed again by themselves.

enum { CHUNK = 100 };

typedef struct {
  const reflow_query *query;
  position after;
  match_visitor *visit;
  void *argument;
  reflow_error *error;
  match waiting[CHUNK];
  size_t count;
  bool visited;
  bool failed;
  bool over;
} walker;

static bool is_unread(const walker *walker, int64_t start, reflow_uuid id) {
  if (!walker->after.is_some) return true;
  if (start != walker->after.start) return (start > walker->after.start) == walker->query->ascending;
  return reflow_compare_uuids(id, walker->after.id) > 0;
}

// Moves the bytes of several matches to the mark, and gives back what was behind it.
static void keep_bodies(match *matches, size_t count, reflow_mark mark) {
  size_t size = 0;
  for (size_t i = 0; i < count; i++) size += matches[i].body.len;
  uint8_t *copy = malloc(size + 1), *end = copy;
  if (!copy) abort();
  for (size_t i = 0; i < count; i++) {
    memcpy(end, matches[i].body.ptr, matches[i].body.len);
    end += matches[i].body.len;
  }
  reflow_release(mark);
  uint8_t *kept = reflow_alloc(size);
  memcpy(kept, copy, size);
  free(copy);
  for (size_t i = 0; i < count; i++) {
    matches[i].body.ptr = kept;
    kept += matches[i].body.len;
  }
}

// Reads the headers of the traces that wait, and visits those that match.
static bool flush(walker *walker) {
  reflow_mark mark = reflow_get_mark();
  size_t count = walker->count, matched = 0;
  walker->count = 0;
  reflow_uuid ids[CHUNK];
  reflow_optional_bytes *values;
  for (size_t i = 0; i < count; i++) ids[i] = walker->waiting[i].id;
  if (!read_headers(ids, count, &values, walker->error)) return false;
  for (size_t i = 0; i < count; i++) {
    match found = walker->waiting[i];
    if (!values[i].is_some) continue;
    reflow_trace trace;
    bool matching;
    if (!decode_header(values[i].val, &trace, walker->error)) return false;
    // A key that a concurrent writer or a deletion left behind belongs to no header.
    if (trace.start_time != found.start) continue;
    if (!matches(walker->query, found.id, &trace, &matching, walker->error)) return false;
    if (!matching) continue;
    found.body = trace.body;
    walker->waiting[matched++] = found;
  }
  keep_bodies(walker->waiting, matched, mark);
  for (size_t i = 0; i < matched && !walker->over; i++) {
    walker->visited = true;
    walker->over = !walker->visit(&walker->waiting[i], walker->argument);
  }
  return true;
}

static reflow_optional_bytes copied(const reflow_buffer *copy, bool is_some) {
  reflow_optional_bytes bytes = {is_some, reflow_bytes_of(copy)};
  return bytes;
}

// After a page of keys of which nothing was visited, its memory is given back: a walk may be long.
static bool turn_page(walker *walker, reflow_listing *listing, match *held, reflow_mark *mark) {
  if (!flush(walker)) return false;
  if (!walker->visited) {
    // Both cursors are short.
    uint8_t next[2048], of_held[2048];
    size_t next_len = listing->next.val.len, held_len = held->cursor.val.len;
    if (listing->next.is_some && next_len <= sizeof next && held_len <= sizeof of_held) {
      memcpy(next, listing->next.val.ptr, next_len);
      if (held->cursor.is_some) memcpy(of_held, held->cursor.val.ptr, held_len);
      reflow_release(*mark);
      reflow_buffer copy = {0}, copy_of_held = {0};
      reflow_append(&copy, next, next_len);
      listing->next = copied(&copy, true);
      if (held->cursor.is_some) {
        reflow_append(&copy_of_held, of_held, held_len);
        held->cursor = copied(&copy_of_held, true);
      }
    }
  }
  *mark = reflow_get_mark();
  walker->visited = false;
  return true;
}

// False when the walk ends here.
static bool offer(walker *walker, int64_t start, reflow_uuid id, reflow_optional_bytes cursor) {
  if (!is_unread(walker, start, id)) return true;
  match found = {id, start, cursor, {NULL, 0}};
  walker->waiting[walker->count++] = found;
  if (walker->count == CHUNK) walker->failed = !flush(walker);
  return !walker->failed && !walker->over;
}

// All traces that began then, by ascending id. They have the cursor of the first that was met: a listing from there has all.
static bool offer_twins(walker *walker, int64_t start, reflow_optional_bytes cursor) {
  reflow_buffer prefix = {0};
  reflow_append_byte(&prefix, 't');
  reflow_append_sortable(&prefix, start);
  reflow_optional_bytes first = {0};
  reflow_listing listing = reflow_list(bucket, reflow_bytes_of(&prefix), first, false);
  reflow_entry entry;
  while (reflow_next(&listing, &entry, walker->error)) {
    if (!offer(walker, start, reflow_read_uuid(entry.key.ptr + 9), cursor)) return false;
  }
  walker->failed = listing.failed;
  return !listing.failed;
}

// What all keys between two starts begin with.
static reflow_bytes prefix_of(int64_t from, int64_t to) {
  reflow_uuid none = {0, 0};
  reflow_bytes first = time_key(from, none), last = time_key(to, none);
  size_t len = 1;
  while (len < 9 && first.ptr[len] == last.ptr[len]) len++;
  first.len = len;
  return first;
}

bool walk(const reflow_query *query, position after, match_visitor *visit, void *argument, reflow_error *error) {
  int64_t from = query->start_from.is_some ? query->start_from.val : INT64_MIN;
  int64_t to = query->start_to.is_some ? query->start_to.val : INT64_MAX;
  if (from > to) return true;
  walker walker = {.query = query, .after = after, .visit = visit, .argument = argument, .error = error};
  reflow_listing listing = reflow_list(bucket, prefix_of(from, to), after.cursor, !query->ascending);
  // A trace that is held back until the next key shows whether others began at the same time.
  match held = {0};
  bool holding = false, tied = false, more = true;
  reflow_mark mark = reflow_get_mark();
  reflow_entry entry;
  while (more) {
    if (listing.started && listing.index == listing.len) {
      if (!turn_page(&walker, &listing, &held, &mark)) return false;
      if (walker.over) return true;
    }
    if (!reflow_next(&listing, &entry, error)) break;
    int64_t start = reflow_read_sortable(entry.key.ptr + 1);
    reflow_uuid id = reflow_read_uuid(entry.key.ptr + 9);
    if (start < from || start > to) {
      if ((start > to) == query->ascending) break;
    } else if (query->ascending) {
      more = offer(&walker, start, id, listing.cursor);
    } else if (holding && held.start == start) {
      if (!tied) more = offer_twins(&walker, start, held.cursor);
      tied = true;
    } else {
      if (holding && !tied) more = offer(&walker, held.start, held.id, held.cursor);
      match next = {id, start, listing.cursor, {NULL, 0}};
      held = next;
      holding = true;
      tied = false;
    }
  }
  if (listing.failed || walker.failed) return false;
  if (walker.over) return true;
  if (more && holding && !tied) offer(&walker, held.start, held.id, held.cursor);
  return !walker.failed && (walker.over || flush(&walker));
}
