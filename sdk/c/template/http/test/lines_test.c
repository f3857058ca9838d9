// Runs on this machine, without a host: see README.md.
#include "lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

// What arrived, one piece after another.
static char arrived[4 * PIECE];
static size_t arrived_len, pieces, refused;

static bool take(reflow_bytes lines, void *argument, reflow_error *error) {
  (void)argument;
  if (++pieces == refused) return reflow_fail(error, REFLOW_UNAVAILABLE, "closed");
  memcpy(arrived + arrived_len, lines.ptr, lines.len);
  arrived_len += lines.len;
  return true;
}

static void a_line_has_the_json_of_a_header_or_of_an_event_with_its_trace(void) {
  uint32_t ends[] = {4, 6};
  reflow_texts json = {reflow_text("{\"\"}{}"), {ends, 2}};
  reflow_uuid traces[] = {{1, 2}, {3, 4}};
  reflow_error error;
  EXPECT(in_pieces(&json, NULL, take, NULL, &error) && in_pieces(&json, traces, take, NULL, &error));
  const char *expected =
      "{\"\"}\n{}\n{\"trace_id\":\"00000000-0000-0001-0000-000000000002\",\"event\":{\"\"}}\n"
      "{\"trace_id\":\"00000000-0000-0003-0000-000000000004\",\"event\":{}}\n";
  EXPECT(pieces == 2 && arrived_len == strlen(expected) && memcmp(arrived, expected, arrived_len) == 0);
}

static void a_large_batch_is_passed_on_in_pieces_that_hold_each_line_once(void) {
  static char text[3 * PIECE];
  memset(text, 'x', sizeof text);
  uint32_t ends[] = {PIECE, PIECE + 10, PIECE + PIECE / 2, 2 * PIECE, 2 * PIECE + 1};
  reflow_texts json = {{(uint8_t *)text, 2 * PIECE + 1}, {ends, 5}};
  reflow_error error;
  arrived_len = pieces = 0;
  EXPECT(in_pieces(&json, NULL, take, NULL, &error));
  EXPECT(pieces == 3 && arrived_len == 2 * PIECE + 1 + 5);
  pieces = 0;
  refused = 2;
  EXPECT(!in_pieces(&json, NULL, take, NULL, &error) && pieces == 2 && error.tag == REFLOW_UNAVAILABLE);
}

static void only_a_text_without_escapes_is_a_url(void) {
  reflow_string url = reflow_text("\"http://x\""), number = reflow_text("5"), escaped = reflow_text("\"a\\\"\"");
  EXPECT(unquote(&url) && reflow_equal(url, reflow_text("http://x")));
  EXPECT(!unquote(&number) && !unquote(&escaped));
  EXPECT(may_be_accepted_later(503) && may_be_accepted_later(429) && !may_be_accepted_later(400) && !may_be_accepted_later(302));
}

int main(void) {
  a_line_has_the_json_of_a_header_or_of_an_event_with_its_trace();
  a_large_batch_is_passed_on_in_pieces_that_hold_each_line_once();
  only_a_text_without_escapes_is_a_url();
  puts("3 passed, 0 failed");
  return 0;
}
