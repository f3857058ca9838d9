#ifndef QUERY_H
#define QUERY_H

#include "layout.h"

/// Gets each trace that matches, with its place, in the order of the query, until it returns false.
typedef bool match_visitor(reflow_bytes place, const reflow_trace *header, void *argument);

/// Walks the traces that match and come after the place, which may be absent.
bool walk(const reflow_query *query, reflow_optional_bytes place, match_visitor *visit, void *argument, reflow_error *error);

#endif
