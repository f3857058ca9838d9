// Runs on this machine, without a host: see README.md.
#include "layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
  if (!(condition)) (printf("%s:%d: expected " #condition "\n", __FILE__, __LINE__), exit(1))

reflow_redis server;

static void places_sort_by_start_in_both_orders_and_equal_starts_by_ascending_id(void) {
  int64_t starts[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
  reflow_uuid one = {0, 1}, two = {0, 2};
  for (int i = 0; i < 5; i++) {
    for (int ascending = 0; ascending < 2; ascending++) {
      reflow_bytes place = start_place(starts[i], one, ascending);
      EXPECT(place.len == START_PLACE && start_of(place, ascending) == starts[i]);
      EXPECT(reflow_compare(place, start_place(starts[i], two, ascending)) < 0);
      EXPECT(i == 0 || (reflow_compare(start_place(starts[i - 1], two, ascending), place) < 0) == ascending);
    }
  }
}

static void the_bounds_of_a_prefix_hold_all_that_begins_like_it(void) {
  reflow_uuid none = {0, 0}, last = {UINT64_MAX, UINT64_MAX};
  reflow_bytes prefix = start_place(7, none, true), first, end;
  prefix.len = 8;
  first = from(prefix);
  end = up_to(prefix);
  EXPECT(first.ptr[0] == '[' && end.ptr[0] == '[' && after(prefix).ptr[0] == '(');
  first.ptr++, first.len--, end.ptr++, end.len--;
  EXPECT(reflow_compare(first, start_place(7, none, true)) <= 0 && reflow_compare(start_place(7, last, true), end) <= 0);
  EXPECT(reflow_compare(start_place(6, last, true), first) < 0 && reflow_compare(end, start_place(8, none, true)) < 0);
}

int main(void) {
  places_sort_by_start_in_both_orders_and_equal_starts_by_ascending_id();
  the_bounds_of_a_prefix_hold_all_that_begins_like_it();
  puts("2 passed, 0 failed");
  return 0;
}
