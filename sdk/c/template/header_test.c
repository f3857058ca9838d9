// Runs on this machine, without a host: see README.md.
#include "header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

// The host's log.
void reflow_capabilities_log_log(reflow_capabilities_log_level_t level, plugin_string_t *message) {
  printf("log %d: %.*s\n", level, REFLOW_ARG(*message));
}

static void a_header_comes_back_as_it_was_stored(void) {
  uint8_t body[] = {0, 255};
  plugin_tuple2_string_string_t tag = {reflow_text("a"), reflow_text("")};
  reflow_trace trace = {.flow_id = reflow_text("flow"), .execution_id = {1, UINT64_MAX}, .start_time = INT64_MIN};
  trace.end_time.is_some = true;
  trace.end_time.val = INT64_MAX;
  trace.status = REFLOW_STORAGE_TYPES_STATUS_FAILED;
  trace.error.is_some = true;
  trace.error.val = reflow_text("no disk");
  trace.tags.ptr = &tag;
  trace.tags.len = 1;
  trace.body.ptr = body;
  trace.body.len = sizeof body;
  reflow_trace found;
  reflow_error error;
  EXPECT(decode_header(encode_header(&trace), &found, &error));
  EXPECT(reflow_equal(found.flow_id, trace.flow_id) && found.execution_id.low == UINT64_MAX);
  EXPECT(found.start_time == INT64_MIN && found.end_time.is_some && found.end_time.val == INT64_MAX);
  EXPECT(found.status == trace.status && found.error.is_some && reflow_equal(found.error.val, trace.error.val));
  EXPECT(found.tags.len == 1 && reflow_equal(found.tags.ptr[0].f0, tag.f0) && found.tags.ptr[0].f1.len == 0);
  EXPECT(found.body.len == 2 && memcmp(found.body.ptr, body, 2) == 0);
}

static void a_damaged_header_is_an_error(void) {
  reflow_trace trace = {.flow_id = reflow_text("flow")}, found;
  reflow_bytes value = encode_header(&trace);
  reflow_error error;
  for (reflow_bytes part = {value.ptr, 0}; part.len < value.len; part.len++) EXPECT(!decode_header(part, &found, &error));
  EXPECT(error.tag == REFLOW_OTHER && strstr((char *)error.val.other.message.ptr, "damaged"));
  // More tags than there are bytes.
  memset(value.ptr + value.len - 4, 0xff, 4);
  EXPECT(!decode_header(value, &found, &error));
}

static void a_duration_that_overflows_is_the_longest(void) {
  reflow_trace trace = {.start_time = INT64_MIN, .end_time = {true, INT64_MAX}};
  reflow_query query = {.min_duration = {true, INT64_MAX}};
  EXPECT(header_matches(&trace, &query));
  trace.start_time = INT64_MAX - 1;
  EXPECT(!header_matches(&trace, &query));
  query.min_duration.val = 1;
  EXPECT(header_matches(&trace, &query));
  trace.end_time.is_some = false;
  EXPECT(!header_matches(&trace, &query));
}

int main(void) {
  a_header_comes_back_as_it_was_stored();
  a_damaged_header_is_an_error();
  a_duration_that_overflows_is_the_longest();
  puts("3 passed, 0 failed");
  return 0;
}
