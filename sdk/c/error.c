// Errors and the log.
#include "reflow.h"

#include <stdio.h>
#include <string.h>

static reflow_string written(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int len = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (len < 0) return reflow_text(format);
  char *text = reflow_alloc((size_t)len + 1);
  vsnprintf(text, (size_t)len + 1, format, arguments);
  reflow_string string = {(uint8_t *)text, (size_t)len};
  return string;
}

bool reflow_fail(reflow_error *error, enum reflow_error_kind kind, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  reflow_string message = written(format, arguments);
  va_end(arguments);
  memset(error, 0, sizeof *error);
  error->tag = (uint8_t)kind;
  if (kind == REFLOW_OTHER) {
    error->val.other.message = message;
  } else {
    // All other cases are a text.
    error->val.invalid_argument = message;
  }
  return false;
}

#ifdef REFLOW_CAPABILITIES_LOG_LEVEL_INFO
void reflow_log(reflow_capabilities_log_level_t level, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  reflow_string message = written(format, arguments);
  va_end(arguments);
  reflow_capabilities_log_log(level, &message);
}
#endif
