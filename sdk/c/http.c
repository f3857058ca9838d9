// HTTP requests.
#include "reflow.h"

#ifdef WASI_HTTP_TYPES_METHOD_OTHER
#include "http.h"
#include "http_error.h"
#include "http_url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
  // How many bytes a call reads or writes at most.
  PIECE = 64 * 1024,
  DEFAULT_TIMEOUT_MS = 4000,
  DEFAULT_LIMIT = 1024 * 1024,
};

// An exchange that takes place. A handle that is not open is 0; each is dropped before its parent.
typedef struct {
  const reflow_http_request *request;
  const char *method;
  reflow_http_target target;
  wasi_io_poll_own_pollable_t timer;
  wasi_http_types_own_outgoing_body_t body;
  wasi_http_types_own_future_incoming_response_t future;
  // Ready when the head of the response is there.
  wasi_io_poll_own_pollable_t answered;
  wasi_http_types_own_incoming_response_t incoming;
  wasi_http_types_own_incoming_body_t incoming_body;
  wasi_io_streams_own_input_stream_t input;
  wasi_io_poll_own_pollable_t readable;
} exchange;

static void end(exchange *it) {
  if (it->readable.__handle) wasi_io_poll_pollable_drop_own(it->readable);
  if (it->input.__handle) wasi_io_streams_input_stream_drop_own(it->input);
  if (it->incoming_body.__handle) wasi_http_types_incoming_body_drop_own(it->incoming_body);
  if (it->incoming.__handle) wasi_http_types_incoming_response_drop_own(it->incoming);
  if (it->answered.__handle) wasi_io_poll_pollable_drop_own(it->answered);
  if (it->future.__handle) wasi_http_types_future_incoming_response_drop_own(it->future);
  if (it->timer.__handle) wasi_io_poll_pollable_drop_own(it->timer);
  if (it->body.__handle) wasi_http_types_outgoing_body_drop_own(it->body);
}

// Waits for one of two handles, the second of which may be missing. Fails when the time is up.
static bool wait_for(exchange *it, wasi_io_poll_own_pollable_t first, wasi_io_poll_own_pollable_t second, reflow_error *error) {
  wasi_io_poll_borrow_pollable_t handles[3] = {wasi_io_poll_borrow_pollable(it->timer), wasi_io_poll_borrow_pollable(first)};
  wasi_io_poll_list_borrow_pollable_t all = {handles, 2};
  if (second.__handle) handles[all.len++] = wasi_io_poll_borrow_pollable(second);
  plugin_list_u32_t ready;
  wasi_io_poll_poll(&all, &ready);
  for (size_t i = 0; i < ready.len; i++) {
    if (ready.ptr[i] > 0) return true;
  }
  return reflow_fail(error, REFLOW_UNAVAILABLE, "%s %.*s: there was no answer in time", it->method, REFLOW_ARG(it->target.origin));
}

static wasi_http_types_tuple2_field_name_field_value_t field(reflow_string name, reflow_string value) {
  wasi_http_types_tuple2_field_name_field_value_t made = {name, {value.ptr, value.len}};
  return made;
}

// The request without its body.
static bool prepare(exchange *it, wasi_http_types_own_outgoing_request_t *outgoing, reflow_error *error) {
  const reflow_http_request *request = it->request;
  wasi_http_types_list_tuple2_field_name_field_value_t fields = {
      reflow_alloc((request->header_count + 1) * sizeof *fields.ptr), 0};
  for (size_t i = 0; i < request->header_count; i++) {
    fields.ptr[fields.len++] = field(request->headers[i].name, request->headers[i].value);
  }
  // Without a length the body would be sent in chunks, also an empty one.
  char length[24];
  if (request->body.len > 0 || (strcmp(it->method, "GET") != 0 && strcmp(it->method, "HEAD") != 0)) {
    snprintf(length, sizeof length, "%zu", request->body.len);
    fields.ptr[fields.len++] = field(reflow_text("content-length"), reflow_text(length));
  }
  wasi_http_types_own_fields_t headers;
  wasi_http_types_header_error_t refused;
  if (!wasi_http_types_static_fields_from_list(&fields, &headers, &refused)) {
    return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%s %.*s: the headers are invalid, or HTTP reserves one of them", it->method,
                       REFLOW_ARG(it->target.origin));
  }
  *outgoing = wasi_http_types_constructor_outgoing_request(headers);
  wasi_http_types_borrow_outgoing_request_t borrowed = wasi_http_types_borrow_outgoing_request(*outgoing);
  wasi_http_types_scheme_t scheme = {.tag = it->target.secure ? WASI_HTTP_TYPES_SCHEME_HTTPS : WASI_HTTP_TYPES_SCHEME_HTTP};
  // The host recognizes the usual methods by their names.
  wasi_http_types_method_t method = {.tag = WASI_HTTP_TYPES_METHOD_OTHER, .val.other = reflow_text(it->method)};
  if (wasi_http_types_method_outgoing_request_set_method(borrowed, &method) &&
      wasi_http_types_method_outgoing_request_set_scheme(borrowed, &scheme) &&
      wasi_http_types_method_outgoing_request_set_authority(borrowed, &it->target.authority) &&
      wasi_http_types_method_outgoing_request_set_path_with_query(borrowed, &it->target.path) &&
      wasi_http_types_method_outgoing_request_body(borrowed, &it->body)) {
    return true;
  }
  wasi_http_types_outgoing_request_drop_own(*outgoing);
  return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%s %.*s: the method or the URL is invalid", it->method,
                     REFLOW_ARG(it->target.origin));
}

// Sends the body. Stops when the receiver answers early: nobody may be reading any more.
static bool send_body(exchange *it, reflow_error *error) {
  wasi_io_streams_own_output_stream_t stream;
  if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(it->body), &stream)) return true;
  wasi_io_streams_borrow_output_stream_t output = wasi_io_streams_borrow_output_stream(stream);
  wasi_io_poll_own_pollable_t writable = wasi_io_streams_method_output_stream_subscribe(output);
  reflow_bytes rest = it->request->body;
  wasi_io_streams_stream_error_t closed;
  bool in_time = true;
  while (rest.len > 0 && in_time && !wasi_io_poll_method_pollable_ready(wasi_io_poll_borrow_pollable(it->answered))) {
    uint64_t room;
    if (!wasi_io_streams_method_output_stream_check_write(output, &room, &closed)) break;
    if (room == 0) {
      in_time = wait_for(it, writable, it->answered, error);
      continue;
    }
    reflow_bytes next = {rest.ptr, rest.len < PIECE ? rest.len : PIECE};
    if (next.len > room) next.len = (size_t)room;
    if (!wasi_io_streams_method_output_stream_write(output, &next, &closed)) break;
    rest.ptr += next.len;
    rest.len -= next.len;
  }
  wasi_io_poll_pollable_drop_own(writable);
  wasi_io_streams_output_stream_drop_own(stream);
  if (rest.len == 0) {
    // A body that is dropped instead is one that was cut off. The response says why it was.
    wasi_http_types_error_code_t code;
    wasi_http_types_static_outgoing_body_finish(it->body, NULL, &code);
    it->body.__handle = 0;
  }
  return in_time;
}

// Waits for the head of the response.
static bool read_head(exchange *it, reflow_http_response *response, reflow_error *error) {
  wasi_io_poll_own_pollable_t none = {0};
  if (!wait_for(it, it->answered, none, error)) return false;
  wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
  bool there = wasi_http_types_method_future_incoming_response_get(
      wasi_http_types_borrow_future_incoming_response(it->future), &answer);
  if (!there || answer.is_err) {
    return reflow_fail(error, REFLOW_OTHER, "%s %.*s: the host gave no answer", it->method, REFLOW_ARG(it->target.origin));
  }
  if (answer.val.ok.is_err) return reflow_http_failed(&answer.val.ok.val.err, it->method, it->target.origin, error);
  it->incoming = answer.val.ok.val.ok;
  wasi_http_types_borrow_incoming_response_t incoming = wasi_http_types_borrow_incoming_response(it->incoming);
  response->status = wasi_http_types_method_incoming_response_status(incoming);
  wasi_http_types_own_headers_t headers = wasi_http_types_method_incoming_response_headers(incoming);
  wasi_http_types_list_tuple2_field_name_field_value_t fields;
  wasi_http_types_method_fields_entries(wasi_http_types_borrow_fields(headers), &fields);
  wasi_http_types_fields_drop_own(headers);
  response->headers = reflow_alloc(fields.len * sizeof *response->headers);
  response->header_count = fields.len;
  for (size_t i = 0; i < fields.len; i++) {
    reflow_header header = {fields.ptr[i].f0, {fields.ptr[i].f1.ptr, fields.ptr[i].f1.len}};
    response->headers[i] = header;
  }
  return true;
}

// Whether the body ended, and was not cut off.
static bool is_complete(exchange *it, wasi_io_streams_stream_error_t *stopped, reflow_error *error) {
  if (stopped->tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED) return true;
  wasi_io_error_own_error_t reason = stopped->val.last_operation_failed;
  wasi_http_types_error_code_t code;
  bool known = wasi_http_types_http_error_code(wasi_io_error_borrow_error(reason), &code);
  wasi_io_error_error_drop_own(reason);
  if (known) return reflow_http_failed(&code, it->method, it->target.origin, error);
  return reflow_fail(error, REFLOW_UNAVAILABLE, "%s %.*s: the answer broke off", it->method, REFLOW_ARG(it->target.origin));
}

static bool read_body(exchange *it, reflow_http_response *response, reflow_error *error) {
  size_t limit = it->request->limit ? it->request->limit : DEFAULT_LIMIT;
  if (!wasi_http_types_method_incoming_response_consume(wasi_http_types_borrow_incoming_response(it->incoming), &it->incoming_body) ||
      !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(it->incoming_body), &it->input)) {
    return reflow_fail(error, REFLOW_OTHER, "%s %.*s: the answer can't be read", it->method, REFLOW_ARG(it->target.origin));
  }
  wasi_io_streams_borrow_input_stream_t input = wasi_io_streams_borrow_input_stream(it->input);
  it->readable = wasi_io_streams_method_input_stream_subscribe(input);
  wasi_io_poll_own_pollable_t none = {0};
  reflow_buffer body = {0};
  for (;;) {
    if (!wait_for(it, it->readable, none, error)) return false;
    reflow_bytes piece;
    wasi_io_streams_stream_error_t stopped;
    if (!wasi_io_streams_method_input_stream_read(input, PIECE, &piece, &stopped)) {
      response->body = reflow_bytes_of(&body);
      return is_complete(it, &stopped, error);
    }
    if (piece.len > limit - body.len) {
      return reflow_fail(error, REFLOW_EXHAUSTED, "%s %.*s: the answer has more than %zu bytes", it->method,
                         REFLOW_ARG(it->target.origin), limit);
    }
    reflow_append(&body, piece.ptr, piece.len);
  }
}

bool reflow_http_send(const reflow_http_request *request, reflow_http_response *response, reflow_error *error) {
  exchange it = {.request = request, .method = request->method ? request->method : "GET"};
  memset(response, 0, sizeof *response);
  wasi_http_types_own_outgoing_request_t outgoing;
  if (!reflow_http_parse_url(request->url, &it.target, error) || !prepare(&it, &outgoing, error)) return false;
  uint64_t timeout_ms = request->timeout_ms ? request->timeout_ms : DEFAULT_TIMEOUT_MS;
  it.timer = wasi_clocks_monotonic_clock_subscribe_duration(timeout_ms * 1000000);
  wasi_http_outgoing_handler_error_code_t code;
  bool done;
  if (wasi_http_outgoing_handler_handle(outgoing, NULL, &it.future, &code)) {
    it.answered = wasi_http_types_method_future_incoming_response_subscribe(
        wasi_http_types_borrow_future_incoming_response(it.future));
    done = send_body(&it, error) && read_head(&it, response, error) && read_body(&it, response, error);
  } else {
    it.future.__handle = 0;
    done = reflow_http_failed(&code, it.method, it.target.origin, error);
  }
  end(&it);
  return done;
}

reflow_string reflow_http_header(const reflow_http_response *response, const char *name) {
  size_t len = strlen(name);
  for (size_t i = 0; i < response->header_count; i++) {
    reflow_string found = response->headers[i].name;
    if (found.len == len && strncasecmp((const char *)found.ptr, name, len) == 0) return response->headers[i].value;
  }
  return reflow_text("");
}
#endif
