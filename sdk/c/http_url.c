// The parts of a URL.
#include "reflow.h"

#ifdef WASI_HTTP_TYPES_METHOD_OTHER
#include "http_url.h"

#include <string.h>

static bool starts_with(reflow_string text, const char *prefix) {
  size_t len = strlen(prefix);
  return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

// How many bytes there are before the first of these characters.
static size_t before(reflow_string text, const char *characters) {
  for (size_t i = 0; i < text.len; i++) {
    if (strchr(characters, text.ptr[i])) return i;
  }
  return text.len;
}

static bool is_printable(reflow_string text) {
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f) return false;
  }
  return true;
}

bool reflow_http_parse_url(reflow_string text, reflow_http_target *target, reflow_error *error) {
  target->secure = starts_with(text, "https://");
  if (!is_printable(text) || (!target->secure && !starts_with(text, "http://"))) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "the URL `%.*s` is not valid: expected http://host/path or https://host/path",
                       REFLOW_ARG(text));
  }
  size_t scheme = target->secure ? strlen("https://") : strlen("http://");
  reflow_string rest = {text.ptr + scheme, text.len - scheme};
  // The fragment is not sent.
  rest.len = before(rest, "#");
  target->authority = rest;
  target->authority.len = before(rest, "/?");
  target->path.ptr = rest.ptr + target->authority.len;
  target->path.len = rest.len - target->authority.len;
  if (target->path.len == 0 || target->path.ptr[0] == '?') {
    reflow_buffer path = {0};
    reflow_append_byte(&path, '/');
    reflow_append(&path, target->path.ptr, target->path.len);
    target->path.ptr = path.ptr;
    target->path.len = path.len;
  }
  target->origin.ptr = text.ptr;
  target->origin.len = scheme + target->authority.len;
  if (target->authority.len == 0) return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "the URL `%.*s` has no host", REFLOW_ARG(text));
  // The message leaves out what may be a password.
  if (before(target->authority, "@") < target->authority.len) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT,
                       "the URL has a user: put the header `authorization` into the grant instead");
  }
  return true;
}

bool reflow_http_check_url(reflow_string url, reflow_error *error) {
  reflow_http_target target;
  return reflow_http_parse_url(url, &target, error);
}
#endif
