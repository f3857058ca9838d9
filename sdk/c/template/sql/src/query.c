#include "query.h"

#include <string.h>

#define HAS_EVENT "EXISTS (SELECT 1 FROM event e WHERE e.trace_id = trace.trace_id AND "
#define HAS_TAG "EXISTS (SELECT 1 FROM tag t WHERE t.trace_id = trace.trace_id AND name = ? AND value = ?)"
#define FAILED "(status = 'Failed' OR " HAS_EVENT "(e.kind = 'ActorFailed' OR e.error IS NOT NULL)))"

// A statement that is being written.
typedef struct {
  reflow_buffer text;
  reflow_value *parameters;
  size_t count;
} writer;

static void condition(writer *writer, const char *text) {
  reflow_append_text(&writer->text, " AND ");
  reflow_append_text(&writer->text, text);
}

static void parameter(writer *writer, reflow_value value) { writer->parameters[writer->count++] = value; }

static void condition_on(writer *writer, bool is_present, const char *text, reflow_value value) {
  if (!is_present) return;
  condition(writer, text);
  parameter(writer, value);
}

bool select_traces(const reflow_query *query, reflow_page page, selection *selected, reflow_error *error) {
  static const char *statuses[] = {"Pending", "Running", "Completed", "Failed", "Cancelled"};
  // A later host may send a predicate that this plugin does not know. Ignoring it would give a wrong answer.
  if (query->more.len > 0) {
    return reflow_fail(error, REFLOW_UNSUPPORTED, "the predicate `%.*s`", REFLOW_ARG(query->more.ptr[0].f0));
  }
  // Those of the lists, and at most 14 others.
  size_t kinds = query->event_types.is_some ? query->event_types.val.len : 0;
  writer writer = {.parameters = reflow_alloc((16 + kinds + 2 * query->tags.len) * sizeof *writer.parameters)};
  reflow_append_text(&writer.text, "SELECT start_time, trace_id, body FROM trace WHERE true");
  condition_on(&writer, query->flow_id.is_some, "flow_id = ?", reflow_string_value(query->flow_id.val));
  condition_on(&writer, query->execution_id.is_some, "execution_id = ?", reflow_uuid_value(query->execution_id.val));
  condition_on(&writer, query->start_from.is_some, "start_time >= ?", reflow_integer(query->start_from.val));
  condition_on(&writer, query->start_to.is_some, "start_time <= ?", reflow_integer(query->start_to.val));
  if (query->status.is_some) {
    condition_on(&writer, true, "status = ?", reflow_string_value(reflow_text(statuses[query->status.val])));
  }
  condition_on(&writer, query->error.is_some, "trace.error = ?", reflow_string_value(query->error.val));
  condition_on(&writer, query->actor.is_some, HAS_EVENT "instr(e.actor, ?) > 0)", reflow_string_value(query->actor.val));
  condition_on(&writer, query->min_duration.is_some, "end_time - start_time >= ?", reflow_integer(query->min_duration.val));
  condition_on(&writer, query->max_duration.is_some, "end_time - start_time <= ?", reflow_integer(query->max_duration.val));
  if (query->event_types.is_some) {
    condition(&writer, HAS_EVENT "e.kind IN (");
    for (size_t i = 0; i < kinds; i++) {
      reflow_append_text(&writer.text, i ? ", ?" : "?");
      parameter(&writer, reflow_string_value(query->event_types.val.ptr[i]));
    }
    reflow_append_text(&writer.text, "))");
  }
  for (size_t i = 0; i < query->tags.len; i++) {
    condition_on(&writer, true, HAS_TAG, reflow_string_value(query->tags.ptr[i].f0));
    parameter(&writer, reflow_string_value(query->tags.ptr[i].f1));
  }
  if (query->has_error.is_some) condition(&writer, query->has_error.val ? FAILED : "NOT " FAILED);

  // Equal starts are ordered by ascending id in both directions.
  if (page.token.is_some) {
    position after;
    if (!parse_token(page.token.val, &after, error)) return false;
    condition(&writer, query->ascending ? "(start_time > ? OR (start_time = ? AND trace_id > ?))"
                                        : "(start_time < ? OR (start_time = ? AND trace_id > ?))");
    parameter(&writer, reflow_integer(after.time));
    parameter(&writer, reflow_integer(after.time));
    parameter(&writer, reflow_uuid_value(after.id));
  }
  reflow_append_text(&writer.text, query->ascending ? " ORDER BY start_time ASC" : " ORDER BY start_time DESC");
  reflow_append_text(&writer.text, ", trace_id LIMIT ? OFFSET ?");
  parameter(&writer, reflow_integer((int64_t)page.limit + 1));
  parameter(&writer, reflow_integer(offset_of(page)));
  reflow_append_byte(&writer.text, 0);
  selected->statement = (const char *)writer.text.ptr;
  selected->parameters = writer.parameters;
  selected->count = writer.count;
  return true;
}

reflow_bytes page_token(position last) {
  reflow_buffer token = {0};
  reflow_append_sortable(&token, last.time);
  reflow_append_uuid(&token, last.id);
  return reflow_bytes_of(&token);
}

bool parse_token(reflow_bytes token, position *after, reflow_error *error) {
  if (token.len != 24) return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "the page token is not one of this plugin's");
  after->time = reflow_read_sortable(token.ptr);
  after->id = reflow_read_uuid(token.ptr + 8);
  return true;
}

int64_t offset_of(reflow_page page) { return page.offset > INT64_MAX ? INT64_MAX : (int64_t)page.offset; }
