// Bytes, keys and texts.
#include "reflow.h"

#include <string.h>

void reflow_append(reflow_buffer *buffer, const void *bytes, size_t len) {
  if (buffer->capacity - buffer->len < len) {
    size_t wanted = 2 * buffer->capacity;
    if (wanted < buffer->len + len) wanted = buffer->len + len;
    if (wanted < 64) wanted = 64;
    uint8_t *grown = reflow_alloc(wanted);
    if (buffer->len) memcpy(grown, buffer->ptr, buffer->len);
    buffer->ptr = grown;
    buffer->capacity = wanted;
  }
  if (len) memcpy(buffer->ptr + buffer->len, bytes, len);
  buffer->len += len;
}

void reflow_append_byte(reflow_buffer *buffer, uint8_t byte) { reflow_append(buffer, &byte, 1); }

void reflow_append_text(reflow_buffer *buffer, const char *text) { reflow_append(buffer, text, strlen(text)); }

void reflow_append_u32(reflow_buffer *buffer, uint32_t number) {
  uint8_t bytes[4];
  for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(number >> (24 - 8 * i));
  reflow_append(buffer, bytes, sizeof bytes);
}

void reflow_append_u64(reflow_buffer *buffer, uint64_t number) {
  reflow_append_u32(buffer, (uint32_t)(number >> 32));
  reflow_append_u32(buffer, (uint32_t)number);
}

void reflow_append_sortable(reflow_buffer *buffer, int64_t number) {
  reflow_append_u64(buffer, (uint64_t)number ^ UINT64_C(1) << 63);
}

void reflow_append_uuid(reflow_buffer *buffer, reflow_uuid id) {
  reflow_append_u64(buffer, id.high);
  reflow_append_u64(buffer, id.low);
}

uint32_t reflow_read_u32(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint64_t reflow_read_u64(const uint8_t *bytes) {
  return (uint64_t)reflow_read_u32(bytes) << 32 | reflow_read_u32(bytes + 4);
}

int64_t reflow_read_sortable(const uint8_t *bytes) { return (int64_t)(reflow_read_u64(bytes) ^ UINT64_C(1) << 63); }

reflow_uuid reflow_read_uuid(const uint8_t *bytes) {
  reflow_uuid id = {reflow_read_u64(bytes), reflow_read_u64(bytes + 8)};
  return id;
}

reflow_string reflow_text(const char *text) {
  reflow_string string = {(uint8_t *)text, strlen(text)};
  return string;
}

int reflow_compare(reflow_bytes left, reflow_bytes right) {
  size_t shared = left.len < right.len ? left.len : right.len;
  int order = shared ? memcmp(left.ptr, right.ptr, shared) : 0;
  return order ? order : (left.len > right.len) - (left.len < right.len);
}

bool reflow_equal(reflow_string left, reflow_string right) {
  return left.len == right.len && (left.len == 0 || memcmp(left.ptr, right.ptr, left.len) == 0);
}

bool reflow_contains(reflow_string text, reflow_string part) {
  if (part.len == 0) return true;
  for (size_t at = 0; at + part.len <= text.len; at++) {
    const uint8_t *first = memchr(text.ptr + at, part.ptr[0], text.len - part.len - at + 1);
    if (!first) return false;
    at = (size_t)(first - text.ptr);
    if (memcmp(first, part.ptr, part.len) == 0) return true;
  }
  return false;
}

int reflow_compare_uuids(reflow_uuid left, reflow_uuid right) {
  if (left.high != right.high) return left.high < right.high ? -1 : 1;
  return (left.low > right.low) - (left.low < right.low);
}

reflow_string reflow_uuid_text(reflow_uuid id) {
  static const char digits[] = "0123456789abcdef";
  reflow_buffer text = {0};
  for (int i = 0; i < 32; i++) {
    if (i == 8 || i == 12 || i == 16 || i == 20) reflow_append_byte(&text, '-');
    uint64_t half = i < 16 ? id.high : id.low;
    reflow_append_byte(&text, (uint8_t)digits[half >> (60 - 4 * (i % 16)) & 15]);
  }
  reflow_string string = {text.ptr, text.len};
  return string;
}
