// A forwarder of reflow-tracing: each header and each event that is stored is posted to the setting `url`, as lines of JSON. It keeps
// nothing and answers no query, so the host uses it beside a store: `also` in `[storage]` names it.
#include "forwarder.h"
#include "http.h"
#include "lines.h"
#include "render.h"

#include <stdlib.h>
#include <string.h>

// Outlives the calls.
static reflow_string url;

// Reads the settings: config = { url = "https://example.com/traces" }.
bool backend_open(reflow_string config, reflow_info *info, reflow_error *error) {
  info->name = reflow_text(PLUGIN_NAME);
  info->version = reflow_text("0.1.0");
  plugin_list_string_t names;
  reflow_capabilities_config_names(&names);
  reflow_string name = reflow_text("url"), setting;
  // A misspelt setting is noticed.
  if (names.len != 1 || !reflow_capabilities_config_get(&name, &setting) || !unquote(&setting)) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT,
                       "the settings %.*s are invalid: expected config = { url = \"https://example.com/traces\" }", REFLOW_ARG(config));
  }
  url.ptr = malloc(setting.len + 1);
  if (!url.ptr) abort();
  url.len = setting.len;
  memcpy(url.ptr, setting.ptr, setting.len);
  return reflow_http_check_url(url, error);
}

// Posts lines. When it fails, the host calls again, so a receiver may get lines twice.
static bool post(reflow_bytes lines, void *argument, reflow_error *error) {
  (void)argument;
  reflow_header type = {reflow_text("content-type"), reflow_text("application/x-ndjson")};
  reflow_http_request request = {.method = "POST", .url = url, .headers = &type, .header_count = 1, .body = lines};
  reflow_http_response response;
  if (!reflow_http_send(&request, &response, error)) return false;
  if (response.status >= 200 && response.status < 300) return true;
  if (may_be_accepted_later(response.status)) {
    return reflow_fail(error, REFLOW_UNAVAILABLE, "%.*s answered %d", REFLOW_ARG(url), response.status);
  }
  return reflow_fail(error, REFLOW_OTHER, "%.*s answered %d: it refuses what it was sent", REFLOW_ARG(url), response.status);
}

// A line for each header. The host renders the JSON.
bool backend_store_traces(const reflow_trace *traces, size_t count, reflow_error *error) {
  reflow_bytes *bodies = reflow_alloc(count * sizeof *bodies);
  for (size_t i = 0; i < count; i++) bodies[i] = traces[i].body;
  reflow_blobs joined = reflow_join(bodies, count);
  reflow_texts json;
  return reflow_headers_to_json(&joined, &json, error) && in_pieces(&json, NULL, post, NULL, error);
}

// A line for each event, with the id of its trace.
bool backend_store_events(reflow_batch events, reflow_error *error) {
  reflow_uuid *traces;
  reflow_texts json;
  return reflow_batch_uuids(events, "trace-id", &traces, error) && reflow_batch_texts(events, "json", &json, error) &&
         in_pieces(&json, traces, post, NULL, error);
}

// Any answer shows that the receiver can be reached; many refuse the method.
bool backend_health_check(reflow_error *error) {
  reflow_http_request request = {.method = "HEAD", .url = url};
  reflow_http_response response;
  return reflow_http_send(&request, &response, error);
}
