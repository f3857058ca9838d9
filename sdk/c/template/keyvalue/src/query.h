#ifndef QUERY_H
#define QUERY_H

#include "layout.h"

/// A trace that matches a query.
typedef struct {
  reflow_uuid id;
  int64_t start;
  /// The cursor of the page of keys that has it.
  reflow_optional_bytes cursor;
  reflow_bytes body;
} match;

/// Gets each trace that matches, in the order of the query, until it returns false.
typedef bool match_visitor(const match *match, void *argument);

/// A place in the order of a query; `page_token` makes one of a match.
typedef struct {
  bool is_some;
  reflow_uuid id;
  int64_t start;
  reflow_optional_bytes cursor;
} position;

/// Walks the traces that match and come after a position.
bool walk(const reflow_query *query, position after, match_visitor *visit, void *argument, reflow_error *error);

/// The token of the page that continues behind the match.
reflow_bytes page_token(const match *match);
/// The position of a token; none without a token. Fails on what is not a token of this plugin.
bool parse_token(reflow_optional_bytes token, position *after, reflow_error *error);

#endif
