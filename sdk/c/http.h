// HTTP requests to the origins that the operator has granted: grants = { http = ["https://api.example.com"] }. Headers with secrets belong
// into the grant, where the host adds them and the plugin does not see them. Redirects are answers like others.
#ifndef REFLOW_HTTP_H
#define REFLOW_HTTP_H

#include "reflow.h"

#ifndef WASI_HTTP_TYPES_METHOD_OTHER
#error "http.h needs the line `import wasi:http/outgoing-handler@0.2.12;` in wit/world.wit"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// A header field.
typedef struct {
  reflow_string name;
  reflow_string value;
} reflow_header;

/// A request with its whole body. `{0}` and a URL is a request with defaults.
typedef struct {
  /// NULL means GET.
  const char *method;
  /// With the scheme `http` or `https`.
  reflow_string url;
  const reflow_header *headers;
  size_t header_count;
  reflow_bytes body;
  /// Bounds the whole exchange, in milliseconds; 0 means 4000, a little less than a host gives a call by default.
  uint32_t timeout_ms;
  /// How many bytes the body of the response may have; 0 means 1 MiB.
  size_t limit;
} reflow_http_request;

/// A response with its whole body.
typedef struct {
  uint16_t status;
  reflow_header *headers;
  size_t header_count;
  reflow_bytes body;
} reflow_http_response;

/// Sends the request and waits for the whole response, whatever its status is.
///
/// Without a response the error has the kind that fits: REFLOW_INVALID_ARGUMENT for a request that is invalid or not granted,
/// REFLOW_EXHAUSTED for a body that is too large, and REFLOW_UNAVAILABLE, so that the host calls again, for the rest.
bool reflow_http_send(const reflow_http_request *request, reflow_http_response *response, reflow_error *error);
/// The first value of a header field, whose name may be in upper or lower case; empty when there is none.
reflow_string reflow_http_header(const reflow_http_response *response, const char *name);
/// Fails when requests to the URL would fail as invalid.
bool reflow_http_check_url(reflow_string url, reflow_error *error);

#ifdef __cplusplus
}
#endif
#endif
