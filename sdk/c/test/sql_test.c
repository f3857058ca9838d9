// SQL databases without a host; tests/languages/c.rs runs it, with the bindings of a plugin over sql.
#include "sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

// ---- A host ----
// It writes down what is dropped and committed.

static char done[256];
static void note(const char *what, int handle) { snprintf(done + strlen(done), sizeof done - strlen(done), "%s%d ", what, handle); }

void reflow_capabilities_sql_cursor_drop_own(reflow_capabilities_sql_own_cursor_t handle) { note("cursor", handle.__handle); }
void reflow_capabilities_sql_transaction_drop_own(reflow_capabilities_sql_own_transaction_t handle) { note("rollback", handle.__handle); }

bool reflow_capabilities_sql_static_transaction_commit(reflow_capabilities_sql_own_transaction_t transaction,
                                                       reflow_capabilities_sql_sql_error_t *error) {
  (void)error;
  note("commit", transaction.__handle);
  return true;
}

reflow_capabilities_sql_borrow_transaction_t reflow_capabilities_sql_borrow_transaction(reflow_capabilities_sql_own_transaction_t own) {
  reflow_capabilities_sql_borrow_transaction_t borrowed = {own.__handle};
  return borrowed;
}

reflow_capabilities_sql_borrow_cursor_t reflow_capabilities_sql_borrow_cursor(reflow_capabilities_sql_own_cursor_t own) {
  reflow_capabilities_sql_borrow_cursor_t borrowed = {own.__handle};
  return borrowed;
}

static int32_t next_handle = 1;
bool reflow_capabilities_sql_method_connection_begin(reflow_capabilities_sql_borrow_connection_t connection,
                                                     reflow_capabilities_sql_own_transaction_t *transaction,
                                                     reflow_capabilities_sql_sql_error_t *error) {
  (void)connection, (void)error;
  transaction->__handle = next_handle++;
  return true;
}

// Of two queries, that of the transaction is seen.
static int32_t asked;
bool reflow_capabilities_sql_method_connection_query(reflow_capabilities_sql_borrow_connection_t connection, plugin_string_t *statement,
                                                     reflow_capabilities_sql_list_value_t *parameters,
                                                     reflow_capabilities_sql_own_cursor_t *cursor,
                                                     reflow_capabilities_sql_sql_error_t *error) {
  (void)connection, (void)statement, (void)parameters, (void)error;
  asked = 0;
  cursor->__handle = next_handle++;
  return true;
}

bool reflow_capabilities_sql_method_transaction_query(reflow_capabilities_sql_borrow_transaction_t transaction, plugin_string_t *statement,
                                                      reflow_capabilities_sql_list_value_t *parameters,
                                                      reflow_capabilities_sql_own_cursor_t *cursor,
                                                      reflow_capabilities_sql_sql_error_t *error) {
  (void)statement, (void)parameters, (void)error;
  asked = transaction.__handle;
  cursor->__handle = next_handle++;
  return true;
}

// Fetches of 2 rows, 1 row, and none; or of an error after the first.
static reflow_capabilities_sql_sql_error_t problem;
static bool fails;
static int fetches;
bool reflow_capabilities_sql_method_cursor_next(reflow_capabilities_sql_borrow_cursor_t cursor, uint32_t limit,
                                                reflow_capabilities_sql_list_list_value_t *rows, reflow_capabilities_sql_sql_error_t *error) {
  static reflow_value values[3];
  static reflow_values all[3];
  (void)cursor;
  EXPECT(limit > 0);
  for (int i = 0; i < 3; i++) {
    values[i] = reflow_integer(i);
    all[i].ptr = &values[i];
    all[i].len = 1;
  }
  fetches++;
  if (fails && fetches == 2) {
    *error = problem;
    return false;
  }
  rows->ptr = fetches == 1 ? all : all + 2;
  rows->len = fetches > 2 ? 0 : 3 - (size_t)fetches;
  return true;
}

// ---- Tests ----

static void rows_are_fetched_to_their_end_or_to_an_error(void) {
  for (int failing = 0; failing < 2; failing++) {
    reflow_sql database = {{9}, {0}};
    reflow_rows rows;
    const reflow_value *row;
    reflow_error error;
    int64_t sum = 0, count = 0;
    fails = failing;
    fetches = 0;
    problem.tag = REFLOW_CAPABILITIES_SQL_SQL_ERROR_TIMEOUT;
    reflow_enter();
    EXPECT(reflow_sql_query(database, "SELECT", NULL, 0, &rows, &error));
    for (; reflow_sql_next(&rows, &row, &error); count++) sum += row[0].val.integer;
    EXPECT(count == (failing ? 2 : 3) && sum == (failing ? 1 : 3) && rows.failed == (bool)failing);
    EXPECT(!reflow_sql_next(&rows, &row, &error));
    EXPECT(!failing || error.tag == REFLOW_UNAVAILABLE);
    done[0] = 0;
    reflow_leave();
    EXPECT(done[0] == 0);
  }
}

static void what_is_open_at_the_end_of_a_call_is_closed_before_its_parent(void) {
  reflow_sql database = {{9}, {0}}, first, second;
  reflow_rows rows, others;
  reflow_error error;
  fails = false;
  fetches = 0;
  next_handle = 1;
  done[0] = 0;
  reflow_enter();
  EXPECT(reflow_sql_begin(database, &first, &error) && reflow_sql_query(first, "SELECT", NULL, 0, &rows, &error) && asked == 1);
  EXPECT(reflow_sql_begin(database, &second, &error) && reflow_sql_query(second, "SELECT", NULL, 0, &others, &error) && asked == 3);
  EXPECT(reflow_sql_query(database, "SELECT", NULL, 0, &others, &error) && asked == 0);
  reflow_sql_close(&rows);
  EXPECT(reflow_sql_commit(&first, &error));
  EXPECT(!reflow_sql_commit(&first, &error) && strstr((char *)error.val.other.message.ptr, "has ended"));
  reflow_leave();
  EXPECT(strcmp(done, "cursor2 commit1 cursor5 cursor4 rollback3 ") == 0);
}

static void an_error_has_the_kind_that_fits(void) {
  struct {
    uint8_t tag;
    enum reflow_error_kind kind;
    const char *part;
  } cases[] = {
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_NO_SUCH_LABEL, REFLOW_INVALID_ARGUMENT, "sql = { mine"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_ACCESS_DENIED, REFLOW_INVALID_ARGUMENT, "mine"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_POOL_EXHAUSTED, REFLOW_UNAVAILABLE, "connections"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_TIMEOUT, REFLOW_UNAVAILABLE, "in time"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_CONNECTION_LOST, REFLOW_UNAVAILABLE, "mine"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_LIMIT_EXCEEDED, REFLOW_EXHAUSTED, "mine"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_DATABASE, REFLOW_OTHER, "deadlock (40001)"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_CONVERSION, REFLOW_OTHER, "mine"},
      {REFLOW_CAPABILITIES_SQL_SQL_ERROR_OTHER, REFLOW_OTHER, "mine"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    reflow_sql database = {{9}, {0}};
    reflow_rows rows;
    const reflow_value *row;
    reflow_error error;
    bool refused = cases[i].tag == REFLOW_CAPABILITIES_SQL_SQL_ERROR_DATABASE;
    memset(&problem, 0, sizeof problem);
    problem.tag = cases[i].tag;
    if (refused) {
      problem.val.database.code = reflow_text("40001");
      problem.val.database.message = reflow_text("deadlock");
      problem.val.database.retryable = true;
    } else {
      problem.val.other = reflow_text("mine");
    }
    fails = true;
    fetches = 1;
    EXPECT(reflow_sql_query(database, "SELECT", NULL, 0, &rows, &error) && !reflow_sql_next(&rows, &row, &error));
    EXPECT(error.tag == cases[i].kind && (error.tag != REFLOW_OTHER || error.val.other.retryable == refused));
    reflow_string message = error.tag == REFLOW_OTHER ? error.val.other.message : error.val.unavailable;
    EXPECT(reflow_contains(message, reflow_text(cases[i].part)));
  }
}

int main(void) {
  rows_are_fetched_to_their_end_or_to_an_error();
  what_is_open_at_the_end_of_a_call_is_closed_before_its_parent();
  an_error_has_the_kind_that_fits();
  puts("3 passed, 0 failed");
  return 0;
}
