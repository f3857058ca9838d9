// SQL databases that the operator has granted, by label.
//
// Statements use the placeholders of the database's own dialect: `?` for SQLite and MySQL, `$1` for PostgreSQL. A statement is prepared
// once and kept by its text, so pass values as parameters.
//
// Rows and transactions that are open at the end of a call are closed by themselves. A transaction without a commit is rolled back.
#ifndef REFLOW_SQL_H
#define REFLOW_SQL_H

#include "reflow.h"

#ifndef REFLOW_CAPABILITIES_SQL_VALUE_NULL
#error "sql.h needs the line `import reflow:capabilities/sql@0.1.1;` in wit/world.wit"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// A database, which stays open, or a transaction in it. Each call on a database may run on another connection.
typedef struct {
  reflow_capabilities_sql_borrow_connection_t connection;
  /// Without a handle for the database itself.
  reflow_capabilities_sql_own_transaction_t transaction;
} reflow_sql;

/// A value, whose `tag` is one of REFLOW_CAPABILITIES_SQL_VALUE_... What the database has no type for comes as text.
typedef reflow_capabilities_sql_value_t reflow_value;
/// A row of parameters: `ptr` and `len`.
typedef reflow_capabilities_sql_list_value_t reflow_values;
/// Where a parameter of reflow_sql_insert_batch comes from.
typedef reflow_capabilities_sql_binding_t reflow_binding;

/// An array of values or of bindings as two arguments.
#define REFLOW_ALL(array) (array), sizeof(array) / sizeof *(array)

reflow_value reflow_null(void);
reflow_value reflow_boolean(bool value);
reflow_value reflow_integer(int64_t value);
reflow_value reflow_real(double value);
reflow_value reflow_string_value(reflow_string value);
reflow_value reflow_blob(reflow_bytes value);
/// The 16 bytes of the UUID.
reflow_value reflow_uuid_value(reflow_uuid id);

/// Opens the database that the operator granted under the label.
bool reflow_sql_open(const char *label, reflow_sql *database, reflow_error *error);
/// `sqlite`, `postgresql` or `mysql`, which is MariaDB's too; later hosts may add others.
reflow_string reflow_sql_dialect(reflow_sql database);

/// Begins a transaction, which takes a connection until it ends. After an error PostgreSQL accepts nothing else in it.
bool reflow_sql_begin(reflow_sql database, reflow_sql *transaction, reflow_error *error);
/// Commits a transaction, which can't be used any more.
bool reflow_sql_commit(reflow_sql *transaction, reflow_error *error);

/// Runs a statement; several, separated by semicolons, when there are no parameters. Sets how many rows the last one changed, unless
/// `changed` is NULL.
bool reflow_sql_execute(reflow_sql sql, const char *statement, reflow_value *parameters, size_t count, uint64_t *changed,
                        reflow_error *error);
/// Runs a statement once a row of parameters: all or none. Three dots after a group of parameters, as in `VALUES (?, ?), ...`, let the
/// group stand for as many rows as there are.
bool reflow_sql_execute_many(reflow_sql sql, const char *statement, reflow_values *rows, size_t count, reflow_error *error);

/// A field of the event, by the name that wit/deps/storage/batch.wit lists: a UUID as 16 bytes, or as the database's own type for it, an
/// absent value as NULL.
reflow_binding reflow_bind(const char *field);
/// The halves of a UUID field, as the bits of a signed integer.
reflow_binding reflow_bind_high(const char *field);
reflow_binding reflow_bind_low(const char *field);
/// The same value for every row.
reflow_binding reflow_bind_fixed(reflow_value value);
/// The value that a statement returns for a UUID field, its only parameter. The statement, which may also insert it, runs once for each
/// distinct UUID of the rows, in the transaction of the call.
reflow_binding reflow_bind_looked_up(const char *field, const char *statement);
/// Runs a statement once an event of the batch: all or none. The events never enter the plugin.
bool reflow_sql_insert_batch(reflow_sql sql, const char *statement, reflow_binding *bindings, size_t count, reflow_batch batch,
                             reflow_error *error);

/// The rows of an answer, fetched as they are needed. They take a connection, or the transaction that they are in.
typedef struct {
  reflow_capabilities_sql_own_cursor_t cursor;
  reflow_values *rows;
  size_t len;
  size_t index;
  bool failed;
} reflow_rows;
bool reflow_sql_query(reflow_sql sql, const char *statement, reflow_value *parameters, size_t count, reflow_rows *rows,
                      reflow_error *error);
/// The next row. False at the end, and after an error, when `failed` is set.
bool reflow_sql_next(reflow_rows *rows, const reflow_value **row, reflow_error *error);
/// Closes rows before their end.
void reflow_sql_close(reflow_rows *rows);
/// Runs a query whose column number `body`, from 0, holds bodies of events, which never enter the plugin.
bool reflow_sql_query_events(reflow_sql sql, const char *statement, reflow_value *parameters, size_t count, uint32_t body,
                             reflow_own_batch *events, reflow_error *error);

#ifdef __cplusplus
}
#endif
#endif
