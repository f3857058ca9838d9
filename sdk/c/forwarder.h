// The functions of a plugin that forwards what is stored and can't be read. One source file includes it, and defines backend_open,
// backend_store_traces, backend_store_events and backend_health_check.
#ifndef REFLOW_FORWARDER_H
#define REFLOW_FORWARDER_H

#include "reflow.h"

static bool reflow_unreadable(reflow_error *error) {
  return reflow_fail(error, REFLOW_UNSUPPORTED,
                     "this plugin forwards what is stored, and can't be read: name it in `also` of [storage], beside a store");
}

bool backend_get_traces(const reflow_uuid *ids, size_t count, reflow_optional_bytes *bodies, reflow_error *error) {
  (void)ids, (void)count, (void)bodies;
  return reflow_unreadable(error);
}

bool backend_query_traces(const reflow_query *query, reflow_page page, reflow_trace_page *answer, reflow_error *error) {
  (void)query, (void)page, (void)answer;
  return reflow_unreadable(error);
}

bool backend_get_events(reflow_uuid trace, reflow_page page, reflow_event_page *answer, reflow_error *error) {
  (void)trace, (void)page, (void)answer;
  return reflow_unreadable(error);
}

bool backend_delete_traces(const reflow_uuid *ids, size_t count, uint64_t *deleted, reflow_error *error) {
  (void)ids, (void)count, (void)deleted;
  return reflow_unreadable(error);
}

bool backend_stats(reflow_stats *stats, reflow_error *error) {
  (void)stats;
  return reflow_unreadable(error);
}

#endif
