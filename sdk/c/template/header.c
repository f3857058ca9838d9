#include "header.h"

#include <string.h>

static void append_text(reflow_buffer *buffer, reflow_string text) {
  reflow_append_u32(buffer, (uint32_t)text.len);
  reflow_append(buffer, text.ptr, text.len);
}

reflow_bytes encode_header(const reflow_trace *trace) {
  reflow_buffer value = {0};
  append_text(&value, trace->flow_id);
  reflow_append_uuid(&value, trace->execution_id);
  reflow_append_u64(&value, (uint64_t)trace->start_time);
  reflow_append_byte(&value, trace->end_time.is_some);
  reflow_append_u64(&value, (uint64_t)trace->end_time.val);
  reflow_append_byte(&value, trace->status);
  reflow_append_byte(&value, trace->error.is_some);
  append_text(&value, trace->error.is_some ? trace->error.val : reflow_text(""));
  reflow_append_u32(&value, (uint32_t)trace->tags.len);
  for (size_t i = 0; i < trace->tags.len; i++) {
    append_text(&value, trace->tags.ptr[i].f0);
    append_text(&value, trace->tags.ptr[i].f1);
  }
  reflow_append(&value, trace->body.ptr, trace->body.len);
  return reflow_bytes_of(&value);
}

// Takes bytes off the front; NULL when there are too few.
static const uint8_t *take(reflow_bytes *rest, size_t count) {
  if (!rest->ptr || rest->len < count) {
    rest->ptr = NULL;
    return NULL;
  }
  const uint8_t *taken = rest->ptr;
  rest->ptr += count;
  rest->len -= count;
  return taken;
}

static uint32_t take_u32(reflow_bytes *rest) {
  const uint8_t *bytes = take(rest, 4);
  return bytes ? reflow_read_u32(bytes) : 0;
}

static uint64_t take_u64(reflow_bytes *rest) {
  const uint8_t *bytes = take(rest, 8);
  return bytes ? reflow_read_u64(bytes) : 0;
}

static uint8_t take_byte(reflow_bytes *rest) {
  const uint8_t *byte = take(rest, 1);
  return byte ? *byte : 0;
}

static reflow_string take_text(reflow_bytes *rest) {
  size_t len = take_u32(rest);
  const uint8_t *bytes = take(rest, len);
  reflow_string text = {(uint8_t *)bytes, bytes ? len : 0};
  return text;
}

bool decode_header(reflow_bytes value, reflow_trace *trace, reflow_error *error) {
  reflow_bytes rest = value;
  memset(trace, 0, sizeof *trace);
  trace->flow_id = take_text(&rest);
  trace->execution_id.high = take_u64(&rest);
  trace->execution_id.low = take_u64(&rest);
  trace->start_time = (int64_t)take_u64(&rest);
  trace->end_time.is_some = take_byte(&rest);
  trace->end_time.val = (int64_t)take_u64(&rest);
  trace->status = take_byte(&rest);
  trace->error.is_some = take_byte(&rest);
  trace->error.val = take_text(&rest);
  size_t tags = take_u32(&rest);
  // Each tag takes at least the two lengths.
  if (rest.ptr && tags <= rest.len / 8) {
    trace->tags.ptr = reflow_alloc(tags * sizeof *trace->tags.ptr);
    for (trace->tags.len = 0; trace->tags.len < tags; trace->tags.len++) {
      trace->tags.ptr[trace->tags.len].f0 = take_text(&rest);
      trace->tags.ptr[trace->tags.len].f1 = take_text(&rest);
    }
  } else if (tags) {
    rest.ptr = NULL;
  }
  if (!rest.ptr) return reflow_fail(error, REFLOW_OTHER, "a stored header is damaged: it has %zu bytes", value.len);
  trace->body = rest;
  return true;
}

static bool has_tags(const reflow_trace *trace, const reflow_query *query) {
  for (size_t i = 0; i < query->tags.len; i++) {
    bool found = false;
    for (size_t j = 0; j < trace->tags.len && !found; j++) {
      found = reflow_equal(trace->tags.ptr[j].f0, query->tags.ptr[i].f0) &&
              reflow_equal(trace->tags.ptr[j].f1, query->tags.ptr[i].f1);
    }
    if (!found) return false;
  }
  return true;
}

static bool took_as_long(const reflow_trace *trace, const reflow_query *query) {
  if (!query->min_duration.is_some && !query->max_duration.is_some) return true;
  if (!trace->end_time.is_some) return false;
  int64_t took;
  if (__builtin_sub_overflow(trace->end_time.val, trace->start_time, &took)) {
    took = trace->end_time.val > trace->start_time ? INT64_MAX : INT64_MIN;
  }
  return !(query->min_duration.is_some && took < query->min_duration.val) &&
         !(query->max_duration.is_some && took > query->max_duration.val);
}

bool header_matches(const reflow_trace *trace, const reflow_query *query) {
  return !(query->flow_id.is_some && !reflow_equal(query->flow_id.val, trace->flow_id)) &&
         !(query->execution_id.is_some && reflow_compare_uuids(query->execution_id.val, trace->execution_id) != 0) &&
         !(query->status.is_some && query->status.val != trace->status) &&
         !(query->error.is_some && !(trace->error.is_some && reflow_equal(query->error.val, trace->error.val))) &&
         has_tags(trace, query) && took_as_long(trace, query);
}
