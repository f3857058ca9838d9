#ifndef QUERY_H
#define QUERY_H

#include "sql.h"

/// A statement with its parameters.
typedef struct {
  const char *statement;
  reflow_value *parameters;
  size_t count;
} selection;

/// The statement for a page: start time, id and body of the traces on it, and of one more.
bool select_traces(const reflow_query *query, reflow_page page, selection *selected, reflow_error *error);

/// The time and the id of the last item of a page. Any instance can continue from it, and concurrent writes and deletions do not shift the
/// next page.
typedef struct {
  int64_t time;
  reflow_uuid id;
} position;

reflow_bytes page_token(position last);
/// Tokens come from clients, so they may be invalid.
bool parse_token(reflow_bytes token, position *after, reflow_error *error);

/// The offset as the database takes it.
int64_t offset_of(reflow_page page);

#endif
