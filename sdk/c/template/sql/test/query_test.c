// Runs on this machine, without a host: see README.md.
#include "query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

static size_t places(const char *statement) {
  size_t count = 0;
  for (; *statement; statement++) count += *statement == '?';
  return count;
}

static void a_page_continues_after_its_token_and_holds_one_more(void) {
  position at = {-6, {0, 2}}, found;
  reflow_page page = {.limit = 10, .offset = UINT64_MAX, .token = reflow_some(page_token(at))};
  reflow_query query = {0};
  reflow_error error;
  selection selected;
  EXPECT(parse_token(page.token.val, &found, &error) && found.time == at.time && found.id.low == 2);
  EXPECT(select_traces(&query, page, &selected, &error));
  EXPECT(strstr(selected.statement, "start_time < ? OR (start_time = ? AND trace_id > ?)"));
  EXPECT(selected.count == 5 && selected.count == places(selected.statement));
  EXPECT(selected.parameters[3].val.integer == 11 && selected.parameters[4].val.integer == INT64_MAX);
  page.token.val.len = 5;
  EXPECT(!select_traces(&query, page, &selected, &error) && error.tag == REFLOW_INVALID_ARGUMENT);
}

static void all_predicates_have_their_parameters(void) {
  plugin_string_t kinds[] = {reflow_text("DataFlow"), reflow_text("ActorFailed")};
  plugin_tuple2_string_string_t tag = {reflow_text("region"), reflow_text("eu")};
  reflow_query query = {.ascending = true, .flow_id = {true, reflow_text("x")}, .error = {true, reflow_text("x")}};
  query.execution_id.is_some = query.start_from.is_some = query.start_to.is_some = query.status.is_some = true;
  query.min_duration.is_some = query.max_duration.is_some = query.has_error.is_some = query.has_error.val = true;
  query.actor.is_some = query.event_types.is_some = true;
  query.actor.val = reflow_text("x");
  query.event_types.val.ptr = kinds;
  query.event_types.val.len = 2;
  query.tags.ptr = &tag;
  query.tags.len = 1;
  reflow_page page = {.limit = 1};
  reflow_error error;
  selection selected;
  EXPECT(select_traces(&query, page, &selected, &error));
  EXPECT(selected.count == 15 && selected.count == places(selected.statement));
  query.more.ptr = &tag;
  query.more.len = 1;
  EXPECT(!select_traces(&query, page, &selected, &error) && error.tag == REFLOW_UNSUPPORTED);
}

int main(void) {
  a_page_continues_after_its_token_and_holds_one_more();
  all_predicates_have_their_parameters();
  puts("2 passed, 0 failed");
  return 0;
}
