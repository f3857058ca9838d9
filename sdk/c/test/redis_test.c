// Redis servers without a host; tests/languages/c.rs runs it, with the bindings of a plugin over redis.
#include "redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

// ---- A host ----

static reflow_capabilities_redis_reply_t parts[8];
static size_t part_count;
static reflow_capabilities_redis_redis_error_t problem;
static bool fails;
bool reflow_capabilities_redis_method_connection_pipeline(reflow_redis server, plugin_list_list_list_u8_t *commands,
                                                          reflow_capabilities_redis_list_reply_t *replies,
                                                          reflow_capabilities_redis_redis_error_t *error) {
  (void)server, (void)commands;
  *error = problem;
  replies->ptr = parts;
  replies->len = part_count;
  return !fails;
}

// ---- Tests ----

static bool is(reflow_bytes found, const char *expected, size_t len) { return found.len == len && memcmp(found.ptr, expected, len) == 0; }

static void a_command_is_split_at_spaces_and_takes_values(void) {
  reflow_commands commands = {0};
  reflow_bytes bytes = {(uint8_t *)"\0 \xff", 3}, empty = {NULL, 0};
  reflow_command(&commands, "ZADD  names:%s %d %b", "a b", -1, bytes);
  for (int i = 0; i < 20; i++) reflow_argument(&commands, empty);
  reflow_command(&commands, "ZRANGEBYLEX %llu %u%% x%lldy", (unsigned long long)UINT64_MAX, 7u, (long long)INT64_MIN);
  EXPECT(commands.len == 2 && commands.ptr[0].len == 24 && commands.ptr[1].len == 4);
  const char *percent = "7%";
  plugin_list_u8_t *first = commands.ptr[0].ptr, *second = commands.ptr[1].ptr;
  EXPECT(is(first[0], "ZADD", 4) && is(first[1], "names:a b", 9) && is(first[2], "-1", 2) && is(first[3], "\0 \xff", 3));
  EXPECT(is(first[23], "", 0) && is(second[1], "18446744073709551615", 20) && is(second[2], percent, 2));
  EXPECT(is(second[3], "x-9223372036854775808y", 22));
}

static bool has(reflow_capabilities_redis_part_t part, uint8_t tag, const char *text) {
  return part.tag == tag && reflow_equal(part.val.field, reflow_text(text));
}

static void a_template_is_split_into_parts(void) {
  reflow_template made = reflow_fill("ZADD events:{trace-id} 0 {sort:timestamp}{sort:event-id} x{has:error}y {body}");
  EXPECT(made.len == 6 && made.ptr[0].len == 1 && made.ptr[1].len == 2 && made.ptr[3].len == 2 && made.ptr[4].len == 3);
  EXPECT(has(made.ptr[0].ptr[0], REFLOW_CAPABILITIES_REDIS_PART_FIXED, "ZADD"));
  EXPECT(has(made.ptr[1].ptr[0], REFLOW_CAPABILITIES_REDIS_PART_FIXED, "events:"));
  EXPECT(has(made.ptr[1].ptr[1], REFLOW_CAPABILITIES_REDIS_PART_FIELD, "trace-id"));
  EXPECT(has(made.ptr[3].ptr[1], REFLOW_CAPABILITIES_REDIS_PART_SORTABLE, "event-id"));
  EXPECT(has(made.ptr[4].ptr[1], REFLOW_CAPABILITIES_REDIS_PART_PRESENT, "error"));
  EXPECT(has(made.ptr[4].ptr[2], REFLOW_CAPABILITIES_REDIS_PART_FIXED, "y"));
  EXPECT(has(made.ptr[5].ptr[0], REFLOW_CAPABILITIES_REDIS_PART_FIELD, "body"));
}

static reflow_capabilities_redis_reply_t reply_of(uint8_t tag, int64_t number, const char *text) {
  reflow_capabilities_redis_reply_t reply = {.tag = tag};
  if (tag == REFLOW_CAPABILITIES_REDIS_REPLY_INTEGER) reply.val.integer = number;
  if (tag == REFLOW_CAPABILITIES_REDIS_REPLY_ARRAY) reply.val.array = (uint32_t)number;
  if (text) reply.val.status = reflow_text(text);
  return reply;
}

static void replies_are_nested_again_and_a_refused_command_is_an_error(void) {
  reflow_redis server = {1};
  reflow_error error;
  reflow_reply *replies;
  for (int refused = 0; refused < 2; refused++) {
    reflow_commands commands = {0};
    for (int i = 0; i < 3; i++) reflow_command(&commands, "GET x");
    part_count = 0;
    parts[part_count++] = reply_of(REFLOW_CAPABILITIES_REDIS_REPLY_ARRAY, 2, NULL);
    parts[part_count++] = reply_of(REFLOW_CAPABILITIES_REDIS_REPLY_ARRAY, 1, NULL);
    parts[part_count++] = reply_of(REFLOW_CAPABILITIES_REDIS_REPLY_NIL, 0, NULL);
    parts[part_count++] = reply_of(REFLOW_CAPABILITIES_REDIS_REPLY_STATUS, 0, "OK");
    parts[part_count++] = reply_of(refused ? REFLOW_CAPABILITIES_REDIS_REPLY_FAILED : REFLOW_CAPABILITIES_REDIS_REPLY_NIL, 0, "OOM no room");
    parts[part_count++] = reply_of(REFLOW_CAPABILITIES_REDIS_REPLY_INTEGER, -5, NULL);
    EXPECT(reflow_redis_run(server, &commands, &replies, &error) != refused && commands.len == 0);
    EXPECT(replies[0].len == 2 && replies[0].elements[0].len == 1 && reflow_is_nil(&replies[0].elements[0].elements[0]));
    EXPECT(is(replies[0].elements[1].bytes, "OK", 2) && replies[2].integer == -5);
    EXPECT(!refused || (error.tag == REFLOW_EXHAUSTED && reflow_equal(error.val.exhausted, reflow_text("OOM no room"))));
  }
}

static void an_error_has_the_kind_that_fits(void) {
  struct {
    uint8_t tag;
    const char *text;
    enum reflow_error_kind kind;
    const char *part;
  } cases[] = {
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_NO_SUCH_LABEL, "mine", REFLOW_INVALID_ARGUMENT, "redis = { mine"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_ACCESS_DENIED, "mine", REFLOW_INVALID_ARGUMENT, "mine"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_POOL_EXHAUSTED, "", REFLOW_UNAVAILABLE, "connections"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_TIMEOUT, "", REFLOW_UNAVAILABLE, "in time"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_CONNECTION_LOST, "mine", REFLOW_UNAVAILABLE, "mine"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_LIMIT_EXCEEDED, "mine", REFLOW_EXHAUSTED, "mine"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_SERVER, "READONLY You", REFLOW_UNAVAILABLE, "READONLY"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_SERVER, "LOADING", REFLOW_UNAVAILABLE, "LOADING"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_SERVER, "WRONGTYPE Operation", REFLOW_OTHER, "WRONGTYPE"},
      {REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_OTHER, "mine", REFLOW_OTHER, "mine"},
  };
  fails = true;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    reflow_redis server = {1};
    reflow_commands commands = {0};
    reflow_error error;
    problem.tag = cases[i].tag;
    problem.val.other = reflow_text(cases[i].text);
    reflow_command(&commands, "PING");
    EXPECT(!reflow_redis_run(server, &commands, NULL, &error) && error.tag == cases[i].kind);
    reflow_string message = error.tag == REFLOW_OTHER ? error.val.other.message : error.val.unavailable;
    EXPECT(reflow_contains(message, reflow_text(cases[i].part)));
  }
}

int main(void) {
  a_command_is_split_at_spaces_and_takes_values();
  a_template_is_split_into_parts();
  replies_are_nested_again_and_a_refused_command_is_an_error();
  an_error_has_the_kind_that_fits();
  puts("4 passed, 0 failed");
  return 0;
}
