// What the host calls: the generated bindings, which allocate in the arena, and the functions that they call.
#include "reflow.h"

#include <stdlib.h>
#include <string.h>

#define realloc(earlier, size) reflow_arena_realloc(earlier, size)
#define free(memory) reflow_arena_free(memory)
#include "plugin.c"
#undef realloc
#undef free

// The plugin's memory is not the arena's: malloc and free work as ever in its sources.

bool exports_reflow_storage_backend_open(plugin_string_t *config, reflow_info *info, reflow_error *error) {
  reflow_enter();
  memset(info, 0, sizeof *info);
  bool done = backend_open(*config, info, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_store_traces(exports_reflow_storage_backend_list_trace_t *traces, reflow_error *error) {
  reflow_enter();
  bool done = backend_store_traces(traces->ptr, traces->len, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_store_events(reflow_batch events, reflow_error *error) {
  reflow_enter();
  bool done = backend_store_events(events, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_get_traces(exports_reflow_storage_backend_list_uuid_t *ids, plugin_list_option_list_u8_t *bodies,
                                               reflow_error *error) {
  reflow_enter();
  bodies->len = ids->len;
  bodies->ptr = reflow_alloc(ids->len * sizeof *bodies->ptr);
  memset(bodies->ptr, 0, ids->len * sizeof *bodies->ptr);
  bool done = backend_get_traces(ids->ptr, ids->len, bodies->ptr, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_query_traces(reflow_query *query, reflow_page *page, reflow_trace_page *answer,
                                                 reflow_error *error) {
  reflow_enter();
  memset(answer, 0, sizeof *answer);
  bool done = backend_query_traces(query, *page, answer, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_get_events(reflow_uuid *trace, reflow_page *page, reflow_event_page *answer, reflow_error *error) {
  reflow_enter();
  memset(answer, 0, sizeof *answer);
  bool done = backend_get_events(*trace, *page, answer, error);
  if (done && !answer->events.__handle) answer->events = reflow_storage_batch_constructor_event_batch();
  if (!done && answer->events.__handle) reflow_storage_batch_event_batch_drop_own(answer->events);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_delete_traces(exports_reflow_storage_backend_list_uuid_t *ids, uint64_t *deleted,
                                                  reflow_error *error) {
  reflow_enter();
  *deleted = 0;
  bool done = backend_delete_traces(ids->ptr, ids->len, deleted, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_get_stats(reflow_stats *stats, reflow_error *error) {
  reflow_enter();
  memset(stats, 0, sizeof *stats);
  bool done = backend_stats(stats, error);
  reflow_leave();
  return done;
}

bool exports_reflow_storage_backend_health_check(reflow_error *error) {
  reflow_enter();
  bool done = backend_health_check(error);
  reflow_leave();
  return done;
}

// The world exports these when it says so; otherwise nothing calls them.
__attribute__((weak)) bool backend_maintain(reflow_error *error) {
  return reflow_fail(error, REFLOW_UNSUPPORTED, "the plugin defines no backend_maintain");
}

bool exports_reflow_storage_maintenance_maintain(reflow_error *error) {
  reflow_enter();
  bool done = backend_maintain(error);
  reflow_leave();
  return done;
}

__attribute__((weak)) bool backend_drop_oldest(int64_t ended_by, uint64_t *dropped, reflow_error *error) {
  (void)ended_by, (void)dropped;
  return reflow_fail(error, REFLOW_UNSUPPORTED, "the plugin defines no backend_drop_oldest");
}

bool exports_reflow_storage_expiry_drop_oldest(int64_t ended_by, uint64_t *dropped, reflow_error *error) {
  reflow_enter();
  *dropped = 0;
  bool done = backend_drop_oldest(ended_by, dropped, error);
  reflow_leave();
  return done;
}
