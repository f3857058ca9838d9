// HTTP without a host; tests/languages/c.rs runs it, with the bindings of a plugin over http.
#include "http_error.h"
#include "http_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

static void a_url_is_split_into_what_a_request_has(void) {
  struct {
    const char *url;
    bool secure;
    const char *authority, *path, *origin;
  } cases[] = {
      {"http://localhost", false, "localhost", "/", "http://localhost"},
      {"https://example.com:8443/a%20b?c=d", true, "example.com:8443", "/a%20b?c=d", "https://example.com:8443"},
      {"https://example.com?q@x#fragment", true, "example.com", "/?q@x", "https://example.com"},
      {"http://[::1]:80/x#y", false, "[::1]:80", "/x", "http://[::1]:80"},
  };
  reflow_http_target target;
  reflow_error error;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    EXPECT(reflow_http_parse_url(reflow_text(cases[i].url), &target, &error));
    EXPECT(target.secure == cases[i].secure && reflow_equal(target.authority, reflow_text(cases[i].authority)));
    EXPECT(reflow_equal(target.path, reflow_text(cases[i].path)) && reflow_equal(target.origin, reflow_text(cases[i].origin)));
  }
  const char *invalid[] = {"", "example.com", "ftp://example.com", "http://", "https:///x", "http://user:secret@x", "http://a b", "http://\xc3\xa9"};
  for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
    EXPECT(!reflow_http_check_url(reflow_text(invalid[i]), &error) && error.tag == REFLOW_INVALID_ARGUMENT);
    EXPECT(!reflow_contains(error.val.invalid_argument, reflow_text("secret")));
  }
}

static void a_code_becomes_the_error_that_fits(void) {
  struct {
    uint8_t code;
    enum reflow_error_kind kind;
    const char *part;
  } cases[] = {
      {WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED, REFLOW_INVALID_ARGUMENT, "http = [\"https://x\"]"},
      {WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_URI_INVALID, REFLOW_INVALID_ARGUMENT, "the URL"},
      {WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_BODY_SIZE, REFLOW_EXHAUSTED, "too large"},
      {WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_REFUSED, REFLOW_UNAVAILABLE, "POST https://x: can't connect"},
      {WASI_HTTP_TYPES_ERROR_CODE_LOOP_DETECTED, REFLOW_UNAVAILABLE, "wasi:http (code 36)"},
      {WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR, REFLOW_UNAVAILABLE, "no header"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    wasi_http_types_error_code_t code = {.tag = cases[i].code, .val.internal_error = {true, reflow_text("no header")}};
    reflow_error error;
    EXPECT(!reflow_http_failed(&code, "POST", reflow_text("https://x"), &error) && error.tag == cases[i].kind);
    EXPECT(reflow_contains(error.val.unavailable, reflow_text(cases[i].part)));
  }
}

static void a_header_is_found_in_any_case(void) {
  reflow_header headers[] = {{reflow_text("Retry-After"), reflow_text("5")}, {reflow_text("retry-after"), reflow_text("6")}};
  reflow_http_response response = {.headers = headers, .header_count = 2};
  EXPECT(reflow_equal(reflow_http_header(&response, "retry-AFTER"), reflow_text("5")));
  EXPECT(reflow_http_header(&response, "retry").len == 0);
}

int main(void) {
  a_url_is_split_into_what_a_request_has();
  a_code_becomes_the_error_that_fits();
  a_header_is_found_in_any_case();
  puts("3 passed, 0 failed");
  return 0;
}
