#include "lines.h"

#include <string.h>

static void append_line(reflow_buffer *lines, reflow_string json, const reflow_uuid *trace) {
  if (trace) {
    reflow_string id = reflow_uuid_text(*trace);
    reflow_append_text(lines, "{\"trace_id\":\"");
    reflow_append(lines, id.ptr, id.len);
    reflow_append_text(lines, "\",\"event\":");
  }
  reflow_append(lines, json.ptr, json.len);
  reflow_append_text(lines, trace ? "}\n" : "\n");
}

bool in_pieces(const reflow_texts *json, const reflow_uuid *traces, line_sink *sink, void *argument, reflow_error *error) {
  reflow_mark mark = reflow_get_mark();
  reflow_buffer lines = {0};
  for (size_t i = 0; i < json->ends.len; i++) {
    reflow_string text = reflow_text_at(json, i);
    if (lines.len > 0 && lines.len + text.len >= PIECE) {
      if (!sink(reflow_bytes_of(&lines), argument, error)) return false;
      // What was sent is not needed any more.
      reflow_release(mark);
      memset(&lines, 0, sizeof lines);
    }
    append_line(&lines, text, traces ? &traces[i] : NULL);
  }
  return lines.len == 0 || sink(reflow_bytes_of(&lines), argument, error);
}

bool may_be_accepted_later(int status) { return status >= 500 || status == 408 || status == 429; }

bool unquote(reflow_string *json) {
  if (json->len < 2 || json->ptr[0] != '"' || memchr(json->ptr, '\\', json->len)) return false;
  json->ptr++;
  json->len -= 2;
  return true;
}
