#include "layout.h"

#include <string.h>

reflow_bytes id_bytes(reflow_uuid id) {
  reflow_buffer bytes = {0};
  reflow_append_uuid(&bytes, id);
  return reflow_bytes_of(&bytes);
}

reflow_bytes start_place(int64_t start, reflow_uuid id, bool ascending) {
  reflow_buffer place = {0};
  reflow_append_sortable(&place, ascending ? start : ~start);
  reflow_append_uuid(&place, id);
  return reflow_bytes_of(&place);
}

int64_t start_of(reflow_bytes place, bool ascending) {
  int64_t start = reflow_read_sortable(place.ptr);
  return ascending ? start : ~start;
}

void enter(reflow_commands *commands, int64_t start, reflow_uuid id) {
  reflow_command(commands, "ZADD earliest 0 %b", start_place(start, id, true));
  reflow_command(commands, "ZADD latest 0 %b", start_place(start, id, false));
}

void leave(reflow_commands *commands, int64_t start, reflow_uuid id) {
  reflow_command(commands, "ZREM earliest %b", start_place(start, id, true));
  reflow_command(commands, "ZREM latest %b", start_place(start, id, false));
}

static reflow_bytes bound(char kind, reflow_bytes place) {
  reflow_buffer made = {0};
  reflow_append_byte(&made, (uint8_t)kind);
  reflow_append(&made, place.ptr, place.len);
  return reflow_bytes_of(&made);
}

reflow_bytes from(reflow_bytes place) { return bound('[', place); }
reflow_bytes after(reflow_bytes place) { return bound('(', place); }

reflow_bytes up_to(reflow_bytes prefix) {
  reflow_bytes start = bound('[', prefix);
  reflow_buffer made = {0};
  reflow_append(&made, start.ptr, start.len);
  for (int i = 0; i < START_PLACE; i++) reflow_append_byte(&made, 0xff);
  return reflow_bytes_of(&made);
}

bool read_headers(const reflow_uuid *ids, size_t count, stored **found, reflow_error *error) {
  *found = reflow_alloc(count * sizeof **found);
  if (count == 0) return true;
  reflow_commands commands = {0};
  reflow_command(&commands, "HMGET headers");
  for (size_t i = 0; i < count; i++) reflow_argument(&commands, id_bytes(ids[i]));
  reflow_reply *reply;
  if (!reflow_redis_run(server, &commands, &reply, error)) return false;
  for (size_t i = 0; i < count; i++) {
    const reflow_reply *value = &reply->elements[i];
    (*found)[i].is_some = !reflow_is_nil(value);
    if ((*found)[i].is_some && !decode_header(value->bytes, &(*found)[i].header, error)) return false;
  }
  return true;
}
