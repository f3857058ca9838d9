// The parts of a URL, within the SDK.
#ifndef REFLOW_HTTP_URL_H
#define REFLOW_HTTP_URL_H

#include "http.h"

typedef struct {
  /// Whether the scheme is https.
  bool secure;
  reflow_string authority;
  reflow_string path;
  /// Scheme and authority, for messages: a path or a query may have a secret in it.
  reflow_string origin;
} reflow_http_target;

bool reflow_http_parse_url(reflow_string text, reflow_http_target *target, reflow_error *error);

#endif
