#ifndef HEADER_H
#define HEADER_H

#include "reflow.h"

/// The value of a header: the fields to search by, and the body behind them.
reflow_bytes encode_header(const reflow_trace *trace);
/// Fails on a damaged value.
bool decode_header(reflow_bytes value, reflow_trace *trace, reflow_error *error);
/// Whether it matches the predicates on headers, the bounds of the start excepted.
bool header_matches(const reflow_trace *trace, const reflow_query *query);

#endif
