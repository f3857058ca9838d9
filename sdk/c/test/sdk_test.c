// The SDK without a host. `cargo xtask test --lang c` runs it, with the bindings of plugins/keyvalue-c.
#include "reflow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

static const char *text(reflow_string string) {
  static char copy[512];
  snprintf(copy, sizeof copy, "%.*s", REFLOW_ARG(string));
  return copy;
}

// ---- A host ----

static char logged[256];
void reflow_capabilities_log_log(reflow_capabilities_log_level_t level, plugin_string_t *message) {
  snprintf(logged, sizeof logged, "%d %.*s", level, REFLOW_ARG(*message));
}

// What the next call of the bucket fails with.
static reflow_capabilities_keyvalue_keyvalue_error_t problem;
bool reflow_capabilities_keyvalue_method_bucket_get(reflow_bucket bucket, plugin_list_u8_t *key, plugin_option_list_u8_t *value,
                                                    reflow_capabilities_keyvalue_keyvalue_error_t *error) {
  (void)bucket, (void)key, (void)value;
  *error = problem;
  return false;
}

// Pages "a" "b", "" (an empty page), "c", then an error if asked for.
static bool fails_at_the_end;
bool reflow_capabilities_keyvalue_method_bucket_scan(reflow_bucket bucket, plugin_list_u8_t *prefix, plugin_list_u8_t *cursor,
                                                     uint32_t limit, bool reverse,
                                                     reflow_capabilities_keyvalue_entry_page_t *page,
                                                     reflow_capabilities_keyvalue_keyvalue_error_t *error) {
  static reflow_entry entries[3];
  (void)bucket, (void)prefix, (void)reverse;
  EXPECT(limit > 0);
  for (int i = 0; i < 3; i++) entries[i].key = reflow_bytes_of_text(reflow_text(i == 0 ? "a" : i == 1 ? "b" : "c"));
  int number = cursor ? cursor->ptr[0] - '0' : 0;
  if (number == 3) {
    *error = problem;
    return false;
  }
  page->entries.ptr = number == 2 ? entries + 2 : entries;
  page->entries.len = number == 0 ? 2 : number == 1 ? 0 : 1;
  page->next.is_some = number < (fails_at_the_end ? 3 : 2);
  page->next.val = reflow_bytes_of_text(reflow_text(number == 0 ? "1" : number == 1 ? "2" : "3"));
  return true;
}

// ---- Tests ----

static void keys_sort_like_their_numbers(void) {
  int64_t numbers[] = {INT64_MIN, -256, -1, 0, 1, 255, 256, INT64_MAX};
  reflow_buffer keys[8] = {0};
  for (int i = 0; i < 8; i++) {
    reflow_append_sortable(&keys[i], numbers[i]);
    EXPECT(keys[i].len == 8 && reflow_read_sortable(keys[i].ptr) == numbers[i]);
    EXPECT(i == 0 || reflow_compare(reflow_bytes_of(&keys[i - 1]), reflow_bytes_of(&keys[i])) < 0);
  }
  EXPECT(memcmp(keys[4].ptr, "\x80\0\0\0\0\0\0\x01", 8) == 0);
}

static void a_uuid_keeps_its_bytes_and_has_a_text(void) {
  reflow_uuid id = {UINT64_C(0x0011223344556677), UINT64_C(0x8899aabbccddeeff)};
  reflow_buffer bytes = {0};
  reflow_append_uuid(&bytes, id);
  EXPECT(bytes.len == 16 && bytes.ptr[1] == 0x11 && reflow_compare_uuids(reflow_read_uuid(bytes.ptr), id) == 0);
  EXPECT(strcmp(text(reflow_uuid_text(id)), "00112233-4455-6677-8899-aabbccddeeff") == 0);
  reflow_uuid later = {id.high, id.low + 1};
  EXPECT(reflow_compare_uuids(id, later) < 0 && reflow_compare_uuids(later, id) > 0);
}

static void texts_are_searched_by_their_bytes(void) {
  EXPECT(reflow_contains(reflow_text("invoice-parser"), reflow_text("oice-pars")));
  EXPECT(reflow_contains(reflow_text("aab"), reflow_text("ab")) && reflow_contains(reflow_text(""), reflow_text("")));
  EXPECT(!reflow_contains(reflow_text("parse"), reflow_text("parser")) && !reflow_contains(reflow_text("abc"), reflow_text("C")));
  EXPECT(!reflow_contains(reflow_text(""), reflow_text("a")) && !reflow_equal(reflow_text("a"), reflow_text("ab")));
  EXPECT(reflow_compare(reflow_bytes_of_text(reflow_text("a")), reflow_bytes_of_text(reflow_text("ab"))) < 0);
}

static void the_arena_is_emptied_by_the_next_call(void) {
  reflow_leave();
  reflow_enter();
  uint8_t *first = reflow_alloc(100);
  for (int i = 0; i < 100; i++) memset(reflow_alloc(50000), i, 50000);
  reflow_leave();
  // The host reads the answer, and then passes the arguments of the next call.
  uint8_t *argument = reflow_arena_realloc(NULL, 10);
  memcpy(argument, "argument!", 10);
  reflow_enter();
  EXPECT(argument == first + 16);
  reflow_alloc(100);
  EXPECT(strcmp((char *)argument, "argument!") == 0);
  uint8_t *grown = reflow_arena_realloc(argument, 100000);
  EXPECT(strcmp((char *)grown, "argument!") == 0);
  reflow_leave();
}

static void what_is_behind_a_mark_is_given_back(void) {
  reflow_enter();
  uint8_t *kept = reflow_alloc(8);
  memcpy(kept, "kept", 5);
  reflow_mark mark = reflow_get_mark();
  uint8_t *first = reflow_alloc(8);
  for (int i = 0; i < 10; i++) reflow_alloc(1000000);
  reflow_release(mark);
  EXPECT(reflow_alloc(8) == first && strcmp((char *)kept, "kept") == 0);
  reflow_leave();
}

static void an_error_has_a_kind_and_a_written_message(void) {
  reflow_error error;
  reflow_string name = {(uint8_t *)"db-without-an-end", 2};
  EXPECT(!reflow_fail(&error, REFLOW_UNAVAILABLE, "no answer from %.*s after %d s", REFLOW_ARG(name), 5));
  EXPECT(error.tag == REFLOW_UNAVAILABLE && strcmp(text(error.val.unavailable), "no answer from db after 5 s") == 0);
  reflow_fail(&error, REFLOW_OTHER, "odd");
  EXPECT(error.tag == REFLOW_OTHER && !error.val.other.retryable && strcmp(text(error.val.other.message), "odd") == 0);
  reflow_log(REFLOW_CAPABILITIES_LOG_LEVEL_WARN, "%s", "careful");
  EXPECT(strcmp(logged, "3 careful") == 0);
}

static void an_error_of_a_bucket_becomes_the_error_that_fits(void) {
  struct {
    uint8_t tag;
    enum reflow_error_kind kind;
    const char *part;
  } cases[] = {
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_NO_SUCH_LABEL, REFLOW_INVALID_ARGUMENT, "keyvalue = { mine"},
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_INVALID_ARGUMENT, REFLOW_INVALID_ARGUMENT, "mine"},
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_ACCESS_DENIED, REFLOW_INVALID_ARGUMENT, "mine"},
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_TIMEOUT, REFLOW_UNAVAILABLE, "in time"},
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_UNAVAILABLE, REFLOW_UNAVAILABLE, "mine"},
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_LIMIT_EXCEEDED, REFLOW_EXHAUSTED, "mine"},
      {REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_OTHER, REFLOW_OTHER, "mine"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    problem.tag = cases[i].tag;
    problem.val.other = reflow_text("mine");
    reflow_bucket bucket = {1};
    reflow_bytes key = {NULL, 0};
    reflow_optional_bytes value;
    reflow_error error;
    EXPECT(!reflow_get(bucket, key, &value, &error));
    EXPECT(error.tag == cases[i].kind);
    EXPECT(strstr(text(error.tag == REFLOW_OTHER ? error.val.other.message : error.val.unavailable), cases[i].part));
  }
}

static void a_listing_follows_the_pages_and_ends_at_an_error(void) {
  reflow_bucket bucket = {1};
  reflow_bytes prefix = {NULL, 0};
  reflow_optional_bytes start = {0};
  reflow_entry entry;
  reflow_error error;
  for (int failing = 0; failing < 2; failing++) {
    fails_at_the_end = failing;
    problem.tag = REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_TIMEOUT;
    char keys[8] = "";
    reflow_listing listing = reflow_list(bucket, prefix, start, false);
    while (reflow_next(&listing, &entry, &error)) strcat(keys, text((reflow_string){entry.key.ptr, entry.key.len}));
    EXPECT(strcmp(keys, "abc") == 0 && listing.failed == (bool)failing);
    EXPECT(!reflow_next(&listing, &entry, &error));
  }
  EXPECT(error.tag == REFLOW_UNAVAILABLE);
}

int main(void) {
  keys_sort_like_their_numbers();
  a_uuid_keeps_its_bytes_and_has_a_text();
  texts_are_searched_by_their_bytes();
  the_arena_is_emptied_by_the_next_call();
  what_is_behind_a_mark_is_given_back();
  an_error_has_a_kind_and_a_written_message();
  an_error_of_a_bucket_becomes_the_error_that_fits();
  a_listing_follows_the_pages_and_ends_at_an_error();
  puts("8 passed, 0 failed");
  return 0;
}
