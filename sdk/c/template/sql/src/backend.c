// A backend of reflow-tracing over a SQLite database. Several instances may work on the database at a time.
#include "query.h"
#include "sql.h"

#include <string.h>

#pragma clang diagnostic ignored "-Wc23-extensions"
static const char schema[] = {
#embed "schema.sql"
    , 0};

static reflow_sql database;

// Opens the database that the operator granted: grants = { sql = { default = "sqlite:traces.db" } }.
bool backend_open(reflow_string config, reflow_info *info, reflow_error *error) {
  if (!reflow_equal(config, reflow_text("{}"))) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "this plugin has no settings, but was given %.*s", REFLOW_ARG(config));
  }
  info->name = reflow_text(PLUGIN_NAME);
  info->version = reflow_text("0.1.0");
  if (!reflow_sql_open("default", &database, error)) return false;
  reflow_string dialect = reflow_sql_dialect(database);
  if (!reflow_equal(dialect, reflow_text("sqlite"))) {
    return reflow_fail(error, REFLOW_UNSUPPORTED, "the dialect %.*s: this plugin stores in SQLite only", REFLOW_ARG(dialect));
  }
  // Several instances may do this at once.
  return reflow_sql_execute(database, schema, NULL, 0, NULL, error);
}

// Replaces a header with its tags. The events stay.
static bool store_trace(reflow_sql transaction, const reflow_trace *trace, reflow_error *error) {
  static const char *statuses[] = {"Pending", "Running", "Completed", "Failed", "Cancelled"};
  reflow_value id = reflow_uuid_value(trace->trace_id);
  reflow_values *tags = reflow_alloc(trace->tags.len * sizeof *tags);
  for (size_t i = 0; i < trace->tags.len; i++) {
    tags[i].len = 3;
    tags[i].ptr = reflow_alloc(3 * sizeof *tags[i].ptr);
    tags[i].ptr[0] = id;
    tags[i].ptr[1] = reflow_string_value(trace->tags.ptr[i].f0);
    tags[i].ptr[2] = reflow_string_value(trace->tags.ptr[i].f1);
  }
  reflow_value header[] = {
      id,
      reflow_string_value(trace->flow_id),
      reflow_uuid_value(trace->execution_id),
      reflow_integer(trace->start_time),
      trace->end_time.is_some ? reflow_integer(trace->end_time.val) : reflow_null(),
      reflow_string_value(reflow_text(statuses[trace->status])),
      trace->error.is_some ? reflow_string_value(trace->error.val) : reflow_null(),
      reflow_blob(trace->body),
  };
  return reflow_sql_execute(transaction, "DELETE FROM tag WHERE trace_id = ?", &id, 1, NULL, error) &&
         reflow_sql_execute_many(transaction, "INSERT INTO tag VALUES (?, ?, ?)", tags, trace->tags.len, error) &&
         reflow_sql_execute(transaction, "INSERT OR REPLACE INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?)", REFLOW_ALL(header), NULL,
                            error);
}

// All or nothing: without a commit, the transaction is rolled back at the end of the call.
bool backend_store_traces(const reflow_trace *traces, size_t count, reflow_error *error) {
  reflow_sql transaction;
  if (!reflow_sql_begin(database, &transaction, error)) return false;
  for (size_t i = 0; i < count; i++) {
    if (!store_trace(transaction, &traces[i], error)) return false;
  }
  return reflow_sql_commit(&transaction, error);
}

// The host binds the fields of each event to the statement: no event enters the plugin. Storing one again changes nothing.
bool backend_store_events(reflow_batch events, reflow_error *error) {
  reflow_binding fields[] = {reflow_bind("trace-id"), reflow_bind("timestamp"), reflow_bind("event-id"), reflow_bind("event-type"),
                             reflow_bind("actor-id"), reflow_bind("error"),     reflow_bind("body")};
  return reflow_sql_insert_batch(database, "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                                 REFLOW_ALL(fields), events, error);
}

bool backend_get_traces(const reflow_uuid *ids, size_t count, reflow_optional_bytes *bodies, reflow_error *error) {
  for (size_t i = 0; i < count; i++) {
    reflow_value id = reflow_uuid_value(ids[i]);
    reflow_rows rows;
    const reflow_value *row;
    if (!reflow_sql_query(database, "SELECT body FROM trace WHERE trace_id = ?", &id, 1, &rows, error)) return false;
    while (reflow_sql_next(&rows, &row, error)) bodies[i] = reflow_some(row[0].val.blob);
    if (rows.failed) return false;
  }
  return true;
}

// Selects one row more than asked for, which shows whether there is a next page.
bool backend_query_traces(const reflow_query *query, reflow_page page, reflow_trace_page *answer, reflow_error *error) {
  selection selected;
  if (!select_traces(query, page, &selected, error)) return false;
  reflow_rows rows;
  const reflow_value *row;
  position last = {0};
  if (!reflow_sql_query(database, selected.statement, selected.parameters, selected.count, &rows, error)) return false;
  answer->bodies.ptr = reflow_alloc(page.limit * sizeof *answer->bodies.ptr);
  while (reflow_sql_next(&rows, &row, error)) {
    if (answer->bodies.len == page.limit) {
      answer->next = reflow_some(page_token(last));
      reflow_sql_close(&rows);
      break;
    }
    last.time = row[0].val.integer;
    last.id = reflow_read_uuid(row[1].val.blob.ptr);
    answer->bodies.ptr[answer->bodies.len++] = row[2].val.blob;
  }
  return !rows.failed;
}

// The host fills the answer from a column.
bool backend_get_events(reflow_uuid trace, reflow_page page, reflow_event_page *answer, reflow_error *error) {
  // The earliest time and an empty id come before every event.
  position after = {.time = INT64_MIN};
  if (page.token.is_some && !parse_token(page.token.val, &after, error)) return false;
  reflow_bytes empty = {NULL, 0};
  reflow_value parameters[] = {
      reflow_uuid_value(trace),   reflow_integer(after.time),   page.token.is_some ? reflow_uuid_value(after.id) : reflow_blob(empty),
      reflow_integer(page.limit), reflow_integer(offset_of(page)),
  };
  if (!reflow_sql_query_events(database,
                               "SELECT body FROM event WHERE trace_id = ? AND (timestamp, event_id) > (?, ?) "
                               "ORDER BY timestamp, event_id LIMIT ? OFFSET ?",
                               REFLOW_ALL(parameters), 0, &answer->events, error)) {
    return false;
  }
  reflow_batch events = reflow_storage_batch_borrow_event_batch(answer->events);
  if (reflow_batch_len(events) < page.limit) return true;
  plugin_list_s64_t times;
  reflow_uuid *ids;
  if (!reflow_batch_integers(events, "timestamp", &times, error) || !reflow_batch_uuids(events, "event-id", &ids, error)) return false;
  position last = {times.ptr[times.len - 1], ids[times.len - 1]};
  answer->next = reflow_some(page_token(last));
  return true;
}

bool backend_delete_traces(const reflow_uuid *ids, size_t count, uint64_t *deleted, reflow_error *error) {
  static const char *statements[] = {"DELETE FROM trace WHERE trace_id = ?", "DELETE FROM event WHERE trace_id = ?",
                                     "DELETE FROM tag WHERE trace_id = ?"};
  reflow_sql transaction;
  if (!reflow_sql_begin(database, &transaction, error)) return false;
  for (size_t i = 0; i < count; i++) {
    reflow_value id = reflow_uuid_value(ids[i]);
    uint64_t found = 0;
    for (size_t j = 0; j < 3; j++) {
      uint64_t rows;
      if (!reflow_sql_execute(transaction, statements[j], &id, 1, &rows, error)) return false;
      found += rows;
    }
    *deleted += found > 0;
  }
  return reflow_sql_commit(&transaction, error);
}

bool backend_stats(reflow_stats *stats, reflow_error *error) {
  reflow_rows rows;
  const reflow_value *row;
  const char *statement = "SELECT count(*), (SELECT count(*) FROM event), min(start_time), max(start_time) FROM trace";
  if (!reflow_sql_query(database, statement, NULL, 0, &rows, error) || !reflow_sql_next(&rows, &row, error)) return false;
  stats->traces = (uint64_t)row[0].val.integer;
  stats->events = (uint64_t)row[1].val.integer;
  // NULL without traces.
  stats->oldest.is_some = stats->newest.is_some = row[2].tag == REFLOW_CAPABILITIES_SQL_VALUE_INTEGER;
  stats->oldest.val = row[2].val.integer;
  stats->newest.val = row[3].val.integer;
  return true;
}

// Takes the lock that a write needs, and releases it.
bool backend_health_check(reflow_error *error) {
  reflow_sql transaction;
  return reflow_sql_begin(database, &transaction, error) &&
         reflow_sql_execute(transaction, "SELECT 1 FROM trace LIMIT 1", NULL, 0, NULL, error);
}
