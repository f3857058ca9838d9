// The errors of wasi:http in words.
#include "reflow.h"

#ifdef WASI_HTTP_TYPES_METHOD_OTHER
#include "http_error.h"

#define CODE(name) WASI_HTTP_TYPES_ERROR_CODE_##name

static const char *reasons[] = {
    [CODE(DNS_TIMEOUT)] = "its name was not resolved in time",
    [CODE(DNS_ERROR)] = "its name can't be resolved",
    [CODE(DESTINATION_NOT_FOUND)] = "there is no such host",
    [CODE(DESTINATION_UNAVAILABLE)] = "the host is unavailable",
    [CODE(DESTINATION_IP_PROHIBITED)] = "the address is prohibited",
    [CODE(DESTINATION_IP_UNROUTABLE)] = "there is no route to the address",
    [CODE(CONNECTION_REFUSED)] = "can't connect",
    [CODE(CONNECTION_TERMINATED)] = "the connection broke",
    [CODE(CONNECTION_TIMEOUT)] = "there was no connection in time",
    [CODE(CONNECTION_READ_TIMEOUT)] = "there was no answer in time",
    [CODE(CONNECTION_WRITE_TIMEOUT)] = "the request was not taken in time",
    [CODE(CONNECTION_LIMIT_REACHED)] = "too many connections are open",
    [CODE(TLS_PROTOCOL_ERROR)] = "no TLS connection",
    [CODE(TLS_CERTIFICATE_ERROR)] = "its certificate is not trusted",
    [CODE(TLS_ALERT_RECEIVED)] = "it refused the TLS connection",
    [CODE(HTTP_REQUEST_DENIED)] = "the origin is not granted",
    [CODE(HTTP_REQUEST_LENGTH_REQUIRED)] = "the request has no length",
    [CODE(HTTP_REQUEST_BODY_SIZE)] = "the body of the request is too large",
    [CODE(HTTP_REQUEST_METHOD_INVALID)] = "the method is invalid",
    [CODE(HTTP_REQUEST_URI_INVALID)] = "the URL is invalid",
    [CODE(HTTP_REQUEST_URI_TOO_LONG)] = "the URL is too long",
    [CODE(HTTP_REQUEST_HEADER_SECTION_SIZE)] = "the headers of the request are too large",
    [CODE(HTTP_REQUEST_HEADER_SIZE)] = "a header of the request is too large",
    [CODE(HTTP_RESPONSE_INCOMPLETE)] = "the answer ended too early",
    [CODE(HTTP_RESPONSE_BODY_SIZE)] = "the answer is too large",
    [CODE(HTTP_RESPONSE_TIMEOUT)] = "the answer did not end in time",
    [CODE(HTTP_PROTOCOL_ERROR)] = "the answer is not valid HTTP",
    [CODE(INTERNAL_ERROR)] = "the host failed to send it; its log says why",
};

bool reflow_http_failed(const wasi_http_types_error_code_t *code, const char *method, reflow_string origin, reflow_error *error) {
  const char *known = code->tag < sizeof reasons / sizeof *reasons ? reasons[code->tag] : NULL;
  reflow_string reason = reflow_text(known ? known : "an error of wasi:http");
  if (code->tag == CODE(INTERNAL_ERROR) && code->val.internal_error.is_some) reason = code->val.internal_error.val;
  switch (code->tag) {
    case CODE(HTTP_REQUEST_DENIED):
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%s %.*s: %.*s: add grants = { http = [\"%.*s\"] }", method,
                         REFLOW_ARG(origin), REFLOW_ARG(reason), REFLOW_ARG(origin));
    case CODE(HTTP_REQUEST_METHOD_INVALID):
    case CODE(HTTP_REQUEST_URI_INVALID):
    case CODE(HTTP_REQUEST_URI_TOO_LONG):
    case CODE(HTTP_REQUEST_HEADER_SECTION_SIZE):
    case CODE(HTTP_REQUEST_HEADER_SIZE):
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%s %.*s: %.*s", method, REFLOW_ARG(origin), REFLOW_ARG(reason));
    case CODE(HTTP_REQUEST_BODY_SIZE):
    case CODE(HTTP_RESPONSE_BODY_SIZE):
      return reflow_fail(error, REFLOW_EXHAUSTED, "%s %.*s: %.*s", method, REFLOW_ARG(origin), REFLOW_ARG(reason));
    default:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "%s %.*s: %.*s (code %d)", method, REFLOW_ARG(origin), REFLOW_ARG(reason),
                         code->tag);
  }
}
#endif
