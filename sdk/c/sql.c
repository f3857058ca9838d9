// SQL databases.
#include "reflow.h"

#ifdef REFLOW_CAPABILITIES_SQL_VALUE_NULL
#include "sql.h"

#include <stdlib.h>

// How many rows a call fetches: a compromise between the number of calls and the memory.
enum { FETCH = 1000 };

typedef reflow_capabilities_sql_sql_error_t sql_error;

static bool failed(const sql_error *found, reflow_error *error) {
  // All cases with a value but one are a text.
  reflow_string text = found->val.other;
  switch (found->tag) {
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_NO_SUCH_LABEL:
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT,
                         "no database is granted under the label `%.*s`: add grants = { sql = { %.*s = \"...\" } }", REFLOW_ARG(text),
                         REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_ACCESS_DENIED:
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_POOL_EXHAUSTED:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "too many connections to the database are in use");
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_TIMEOUT:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "the database did not answer in time");
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_CONNECTION_LOST:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_LIMIT_EXCEEDED:
      return reflow_fail(error, REFLOW_EXHAUSTED, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_SQL_SQL_ERROR_DATABASE: {
      const reflow_capabilities_sql_database_error_t *refused = &found->val.database;
      reflow_fail(error, REFLOW_OTHER, "%.*s (%.*s)", REFLOW_ARG(refused->message), REFLOW_ARG(refused->code));
      error->val.other.retryable = refused->retryable;
      return false;
    }
    default:
      return reflow_fail(error, REFLOW_OTHER, "%.*s", REFLOW_ARG(text));
  }
}

// ---- Open handles ----
// Those of the call, in the order in which they were opened. A parent is older than what depends on it.

typedef struct {
  bool is_cursor;
  int32_t handle;
} handle;

static handle *open_handles;
static size_t open_count, open_capacity;

static void drop(handle last) {
  if (last.is_cursor) {
    reflow_capabilities_sql_own_cursor_t cursor = {last.handle};
    reflow_capabilities_sql_cursor_drop_own(cursor);
  } else {
    reflow_capabilities_sql_own_transaction_t transaction = {last.handle};
    reflow_capabilities_sql_transaction_drop_own(transaction);
  }
}

static void drop_all(void) {
  while (open_count > 0) drop(open_handles[--open_count]);
}

static void opened(bool is_cursor, int32_t number) {
  if (open_count == open_capacity) {
    open_capacity = open_capacity ? 2 * open_capacity : 8;
    open_handles = realloc(open_handles, open_capacity * sizeof *open_handles);
    if (!open_handles) abort();
  }
  handle one = {is_cursor, number};
  open_handles[open_count++] = one;
  reflow_at_leave(drop_all);
}

// Whether it was open.
static bool forget(bool is_cursor, int32_t number) {
  for (size_t i = open_count; i-- > 0;) {
    if (open_handles[i].is_cursor != is_cursor || open_handles[i].handle != number) continue;
    for (open_count--; i < open_count; i++) open_handles[i] = open_handles[i + 1];
    return true;
  }
  return false;
}

// ---- Values and bindings ----

reflow_value reflow_null(void) {
  reflow_value made = {.tag = REFLOW_CAPABILITIES_SQL_VALUE_NULL};
  return made;
}

reflow_value reflow_boolean(bool value) {
  reflow_value made = {.tag = REFLOW_CAPABILITIES_SQL_VALUE_BOOLEAN, .val.boolean = value};
  return made;
}

reflow_value reflow_integer(int64_t value) {
  reflow_value made = {.tag = REFLOW_CAPABILITIES_SQL_VALUE_INTEGER, .val.integer = value};
  return made;
}

reflow_value reflow_real(double value) {
  reflow_value made = {.tag = REFLOW_CAPABILITIES_SQL_VALUE_REAL, .val.real = value};
  return made;
}

reflow_value reflow_string_value(reflow_string value) {
  reflow_value made = {.tag = REFLOW_CAPABILITIES_SQL_VALUE_TEXT, .val.text = value};
  return made;
}

reflow_value reflow_blob(reflow_bytes value) {
  reflow_value made = {.tag = REFLOW_CAPABILITIES_SQL_VALUE_BLOB, .val.blob = value};
  return made;
}

reflow_value reflow_uuid_value(reflow_uuid id) {
  reflow_buffer bytes = {0};
  reflow_append_uuid(&bytes, id);
  return reflow_blob(reflow_bytes_of(&bytes));
}

static reflow_binding named(uint8_t tag, const char *field) {
  reflow_binding made = {.tag = tag, .val.field = reflow_text(field)};
  return made;
}

reflow_binding reflow_bind(const char *field) { return named(REFLOW_CAPABILITIES_SQL_BINDING_FIELD, field); }
reflow_binding reflow_bind_high(const char *field) { return named(REFLOW_CAPABILITIES_SQL_BINDING_HIGH, field); }
reflow_binding reflow_bind_low(const char *field) { return named(REFLOW_CAPABILITIES_SQL_BINDING_LOW, field); }

reflow_binding reflow_bind_fixed(reflow_value value) {
  reflow_binding made = {.tag = REFLOW_CAPABILITIES_SQL_BINDING_FIXED, .val.fixed = value};
  return made;
}

reflow_binding reflow_bind_looked_up(const char *field, const char *statement) {
  reflow_binding made = {.tag = REFLOW_CAPABILITIES_SQL_BINDING_LOOKED_UP};
  made.val.looked_up.field = reflow_text(field);
  made.val.looked_up.statement = reflow_text(statement);
  return made;
}

// ---- Databases and transactions ----

bool reflow_sql_open(const char *label, reflow_sql *database, reflow_error *error) {
  reflow_string name = reflow_text(label);
  reflow_capabilities_sql_own_connection_t connection;
  sql_error problem;
  if (!reflow_capabilities_sql_static_connection_open(&name, &connection, &problem)) return failed(&problem, error);
  database->connection = reflow_capabilities_sql_borrow_connection(connection);
  database->transaction.__handle = 0;
  return true;
}

reflow_string reflow_sql_dialect(reflow_sql database) {
  reflow_string dialect;
  reflow_capabilities_sql_method_connection_dialect(database.connection, &dialect);
  return dialect;
}

bool reflow_sql_begin(reflow_sql database, reflow_sql *transaction, reflow_error *error) {
  sql_error problem;
  *transaction = database;
  if (!reflow_capabilities_sql_method_connection_begin(database.connection, &transaction->transaction, &problem)) {
    return failed(&problem, error);
  }
  opened(false, transaction->transaction.__handle);
  return true;
}

bool reflow_sql_commit(reflow_sql *transaction, reflow_error *error) {
  reflow_capabilities_sql_own_transaction_t own = transaction->transaction;
  transaction->transaction.__handle = 0;
  if (!forget(false, own.__handle)) return reflow_fail(error, REFLOW_OTHER, "a transaction that has ended was committed");
  sql_error problem;
  return reflow_capabilities_sql_static_transaction_commit(own, &problem) || failed(&problem, error);
}

// ---- Statements ----

// The function of the transaction, or of the database.
#define ON(sql, function, ...)                                                                                                      \
  ((sql).transaction.__handle                                                                                                       \
       ? reflow_capabilities_sql_method_transaction_##function(reflow_capabilities_sql_borrow_transaction((sql).transaction),       \
                                                               __VA_ARGS__)                                                         \
       : reflow_capabilities_sql_method_connection_##function((sql).connection, __VA_ARGS__))

bool reflow_sql_execute(reflow_sql sql, const char *statement, reflow_value *parameters, size_t count, uint64_t *changed,
                        reflow_error *error) {
  reflow_string text = reflow_text(statement);
  reflow_values values = {parameters, count};
  uint64_t rows;
  sql_error problem;
  if (!ON(sql, execute, &text, &values, &rows, &problem)) return failed(&problem, error);
  if (changed) *changed = rows;
  return true;
}

bool reflow_sql_execute_many(reflow_sql sql, const char *statement, reflow_values *rows, size_t count, reflow_error *error) {
  reflow_string text = reflow_text(statement);
  reflow_capabilities_sql_list_list_value_t all = {rows, count};
  uint64_t changed;
  sql_error problem;
  return ON(sql, execute_many, &text, &all, &changed, &problem) || failed(&problem, error);
}

bool reflow_sql_insert_batch(reflow_sql sql, const char *statement, reflow_binding *bindings, size_t count, reflow_batch batch,
                             reflow_error *error) {
  reflow_string text = reflow_text(statement);
  reflow_capabilities_sql_list_binding_t all = {bindings, count};
  uint64_t changed;
  sql_error problem;
  return ON(sql, insert_batch, &text, &all, batch, &changed, &problem) || failed(&problem, error);
}

bool reflow_sql_query(reflow_sql sql, const char *statement, reflow_value *parameters, size_t count, reflow_rows *rows,
                      reflow_error *error) {
  reflow_string text = reflow_text(statement);
  reflow_values values = {parameters, count};
  reflow_rows none = {0};
  *rows = none;
  sql_error problem;
  if (!ON(sql, query, &text, &values, &rows->cursor, &problem)) return failed(&problem, error);
  opened(true, rows->cursor.__handle);
  return true;
}

bool reflow_sql_next(reflow_rows *rows, const reflow_value **row, reflow_error *error) {
  if (rows->index == rows->len) {
    if (!rows->cursor.__handle) return false;
    reflow_capabilities_sql_list_list_value_t fetched;
    sql_error problem;
    if (!reflow_capabilities_sql_method_cursor_next(reflow_capabilities_sql_borrow_cursor(rows->cursor), FETCH, &fetched, &problem)) {
      reflow_sql_close(rows);
      rows->failed = true;
      return failed(&problem, error);
    }
    rows->rows = fetched.ptr;
    rows->len = fetched.len;
    rows->index = 0;
    if (fetched.len == 0) {
      reflow_sql_close(rows);
      return false;
    }
  }
  *row = rows->rows[rows->index++].ptr;
  return true;
}

void reflow_sql_close(reflow_rows *rows) {
  if (rows->cursor.__handle && forget(true, rows->cursor.__handle)) reflow_capabilities_sql_cursor_drop_own(rows->cursor);
  rows->cursor.__handle = 0;
  rows->len = rows->index = 0;
}

bool reflow_sql_query_events(reflow_sql sql, const char *statement, reflow_value *parameters, size_t count, uint32_t body,
                             reflow_own_batch *events, reflow_error *error) {
  reflow_string text = reflow_text(statement);
  reflow_values values = {parameters, count};
  sql_error problem;
  return ON(sql, query_events, &text, &values, body, events, &problem) || failed(&problem, error);
}
#endif
