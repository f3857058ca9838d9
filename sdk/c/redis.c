// Redis servers.
#include "reflow.h"

#ifdef REFLOW_CAPABILITIES_REDIS_REPLY_NIL
#include "redis.h"

#include <stdio.h>
#include <string.h>

typedef reflow_capabilities_redis_redis_error_t redis_error;

// By the code at the start of the server's message.
static enum reflow_error_kind kind_of(reflow_string message) {
  // Starting, failing over, moving keys, running a script, unable to save, too few replicas.
  static const char *transient[] = {"LOADING",  "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN",
                                    "READONLY", "BUSY",     "MISCONF",     "NOREPLICAS"};
  reflow_string code = message;
  const uint8_t *end = message.len ? memchr(message.ptr, ' ', message.len) : NULL;
  if (end) code.len = (size_t)(end - message.ptr);
  if (reflow_equal(code, reflow_text("OOM"))) return REFLOW_EXHAUSTED;
  for (size_t i = 0; i < sizeof transient / sizeof *transient; i++) {
    if (reflow_equal(code, reflow_text(transient[i]))) return REFLOW_UNAVAILABLE;
  }
  return REFLOW_OTHER;
}

static bool failed(const redis_error *found, reflow_error *error) {
  // All cases with a value are a text.
  reflow_string text = found->val.other;
  switch (found->tag) {
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_NO_SUCH_LABEL:
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT,
                         "no server is granted under the label `%.*s`: add grants = { redis = { %.*s = \"redis://...\" } }",
                         REFLOW_ARG(text), REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_ACCESS_DENIED:
      return reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_POOL_EXHAUSTED:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "too many connections to the server are in use");
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_TIMEOUT:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "the server did not answer in time");
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_CONNECTION_LOST:
      return reflow_fail(error, REFLOW_UNAVAILABLE, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_LIMIT_EXCEEDED:
      return reflow_fail(error, REFLOW_EXHAUSTED, "%.*s", REFLOW_ARG(text));
    case REFLOW_CAPABILITIES_REDIS_REDIS_ERROR_SERVER:
      return reflow_fail(error, kind_of(text), "%.*s", REFLOW_ARG(text));
    default:
      return reflow_fail(error, REFLOW_OTHER, "%.*s", REFLOW_ARG(text));
  }
}

bool reflow_redis_open(const char *label, reflow_redis *server, reflow_error *error) {
  reflow_string name = reflow_text(label);
  reflow_capabilities_redis_own_connection_t opened;
  redis_error problem;
  if (!reflow_capabilities_redis_static_connection_open(&name, &opened, &problem)) return failed(&problem, error);
  *server = reflow_capabilities_redis_borrow_connection(opened);
  return true;
}

// ---- Commands ----

static void *grown(void *items, size_t len, size_t *capacity, size_t size) {
  *capacity = *capacity ? 2 * *capacity : 8;
  void *larger = reflow_alloc(*capacity * size);
  if (len) memcpy(larger, items, len * size);
  return larger;
}

void reflow_argument(reflow_commands *commands, reflow_bytes argument) {
  plugin_list_list_u8_t *last = &commands->ptr[commands->len - 1];
  if (last->len == commands->room) last->ptr = grown(last->ptr, last->len, &commands->room, sizeof *last->ptr);
  last->ptr[last->len++] = argument;
}

static void add_command(reflow_commands *commands) {
  if (commands->len == commands->capacity) {
    commands->ptr = grown(commands->ptr, commands->len, &commands->capacity, sizeof *commands->ptr);
  }
  plugin_list_list_u8_t none = {NULL, 0};
  commands->ptr[commands->len++] = none;
  commands->room = 0;
}

// Appends the value of the conversion behind a `%`. Returns what is behind it.
static const char *convert(reflow_buffer *argument, const char *format, va_list *values) {
  char digits[24];
  int len = 0;
  if (*format == 's') {
    reflow_string text = reflow_text(va_arg(*values, const char *));
    reflow_append(argument, text.ptr, text.len);
    return format + 1;
  }
  if (*format == 'b') {
    reflow_bytes bytes = va_arg(*values, reflow_bytes);
    reflow_append(argument, bytes.ptr, bytes.len);
    return format + 1;
  }
  if (*format == 'd') len = snprintf(digits, sizeof digits, "%d", va_arg(*values, int));
  if (*format == 'u') len = snprintf(digits, sizeof digits, "%u", va_arg(*values, unsigned));
  if (len == 0 && strncmp(format, "lld", 3) == 0) len = snprintf(digits, sizeof digits, "%lld", va_arg(*values, long long));
  if (len == 0 && strncmp(format, "llu", 3) == 0) len = snprintf(digits, sizeof digits, "%llu", va_arg(*values, unsigned long long));
  if (len > 0) {
    reflow_append(argument, digits, (size_t)len);
    return format + (*format == 'l' ? 3 : 1);
  }
  // No conversion: the character itself.
  reflow_append_byte(argument, (uint8_t)*format);
  return *format ? format + 1 : format;
}

void reflow_command(reflow_commands *commands, const char *format, ...) {
  va_list values;
  va_start(values, format);
  add_command(commands);
  while (*format) {
    reflow_buffer argument = {0};
    while (*format && *format != ' ') {
      if (*format == '%') {
        format = convert(&argument, format + 1, &values);
      } else {
        reflow_append_byte(&argument, (uint8_t)*format++);
      }
    }
    reflow_argument(commands, reflow_bytes_of(&argument));
    while (*format == ' ') format++;
  }
  va_end(values);
}

// ---- Replies ----

// The reply at the front of the parts, which are in reading order: an array is its length, then its elements.
static reflow_reply take(reflow_capabilities_redis_list_reply_t *parts, reflow_reply *refused) {
  reflow_reply reply = {0};
  if (parts->len == 0) return reply;
  reflow_capabilities_redis_reply_t *first = parts->ptr++;
  parts->len--;
  reply.tag = first->tag;
  switch (first->tag) {
    case REFLOW_CAPABILITIES_REDIS_REPLY_INTEGER:
      reply.integer = first->val.integer;
      break;
    case REFLOW_CAPABILITIES_REDIS_REPLY_STATUS:
    case REFLOW_CAPABILITIES_REDIS_REPLY_FAILED:
      reply.bytes = reflow_bytes_of_text(first->val.status);
      break;
    case REFLOW_CAPABILITIES_REDIS_REPLY_BYTES:
      reply.bytes = first->val.bytes;
      break;
    case REFLOW_CAPABILITIES_REDIS_REPLY_ARRAY:
      reply.len = first->val.array;
      reply.elements = reflow_alloc(reply.len * sizeof *reply.elements);
      for (size_t i = 0; i < reply.len; i++) reply.elements[i] = take(parts, refused);
      break;
  }
  if (reply.tag == REFLOW_CAPABILITIES_REDIS_REPLY_FAILED && refused->tag != reply.tag) *refused = reply;
  return reply;
}

// Fails when the server refused a command.
static bool nested(reflow_capabilities_redis_list_reply_t parts, size_t count, reflow_reply *replies, reflow_error *error) {
  reflow_reply refused = {0};
  for (size_t i = 0; i < count; i++) replies[i] = take(&parts, &refused);
  if (refused.tag != REFLOW_CAPABILITIES_REDIS_REPLY_FAILED) return true;
  reflow_string message = {refused.bytes.ptr, refused.bytes.len};
  return reflow_fail(error, kind_of(message), "%.*s", REFLOW_ARG(message));
}

static plugin_list_list_list_u8_t emptied(reflow_commands *commands) {
  plugin_list_list_list_u8_t all = {commands->ptr, commands->len};
  reflow_commands none = {0};
  *commands = none;
  return all;
}

bool reflow_redis_run(reflow_redis server, reflow_commands *commands, reflow_reply **replies, reflow_error *error) {
  plugin_list_list_list_u8_t all = emptied(commands);
  if (replies) *replies = NULL;
  if (all.len == 0) return true;
  reflow_capabilities_redis_list_reply_t parts;
  redis_error problem;
  if (!reflow_capabilities_redis_method_connection_pipeline(server, &all, &parts, &problem)) return failed(&problem, error);
  reflow_reply *found = reflow_alloc(all.len * sizeof *found);
  if (replies) *replies = found;
  return nested(parts, all.len, found, error);
}

bool reflow_redis_atomically(reflow_redis server, reflow_expectation *expected, size_t count, reflow_commands *commands, bool *ran,
                             reflow_reply **replies, reflow_error *error) {
  plugin_list_list_list_u8_t all = emptied(commands);
  reflow_capabilities_redis_list_expectation_t conditions = {expected, count};
  reflow_capabilities_redis_option_list_reply_t parts;
  redis_error problem;
  if (replies) *replies = NULL;
  if (!reflow_capabilities_redis_method_connection_atomically(server, &conditions, &all, &parts, &problem)) {
    return failed(&problem, error);
  }
  if (ran) *ran = parts.is_some;
  if (!parts.is_some) return true;
  reflow_reply *found = reflow_alloc(all.len * sizeof *found);
  if (replies) *replies = found;
  return nested(parts.val, all.len, found, error);
}

// ---- Batches ----

static reflow_capabilities_redis_part_t part(uint8_t tag, const char *text, size_t len) {
  reflow_capabilities_redis_part_t made;
  made.tag = tag;
  // All cases have a pointer and a length.
  made.val.field.ptr = (uint8_t *)text;
  made.val.field.len = len;
  return made;
}

// The part at the front of an argument.
static reflow_capabilities_redis_part_t next_part(const char **text) {
  const char *start = *text;
  if (*start != '{') {
    size_t len = strcspn(start, "{ ");
    *text += len;
    return part(REFLOW_CAPABILITIES_REDIS_PART_FIXED, start, len);
  }
  uint8_t tag = REFLOW_CAPABILITIES_REDIS_PART_FIELD;
  start++;
  if (strncmp(start, "sort:", 5) == 0) {
    tag = REFLOW_CAPABILITIES_REDIS_PART_SORTABLE;
    start += 5;
  } else if (strncmp(start, "has:", 4) == 0) {
    tag = REFLOW_CAPABILITIES_REDIS_PART_PRESENT;
    start += 4;
  }
  size_t len = strcspn(start, "}");
  *text = start + len + (start[len] == '}');
  return part(tag, start, len);
}

reflow_template reflow_fill(const char *command) {
  reflow_template made = {NULL, 0};
  size_t arguments = 0;
  while (*command) {
    reflow_capabilities_redis_list_part_t argument = {NULL, 0};
    size_t parts = 0;
    while (*command && *command != ' ') {
      if (argument.len == parts) argument.ptr = grown(argument.ptr, argument.len, &parts, sizeof *argument.ptr);
      argument.ptr[argument.len++] = next_part(&command);
    }
    if (made.len == arguments) made.ptr = grown(made.ptr, made.len, &arguments, sizeof *made.ptr);
    made.ptr[made.len++] = argument;
    while (*command == ' ') command++;
  }
  return made;
}

bool reflow_redis_run_batch(reflow_redis server, reflow_template *unless, reflow_template *commands, size_t count, reflow_batch batch,
                            reflow_error *error) {
  reflow_capabilities_redis_list_list_list_part_t all = {commands, count};
  uint64_t ran;
  redis_error problem;
  return reflow_capabilities_redis_method_connection_pipeline_batch(server, unless, &all, batch, &ran, &problem) ||
         failed(&problem, error);
}

bool reflow_redis_query_events(reflow_redis server, reflow_commands *commands, reflow_own_batch *events, reflow_error *error) {
  plugin_list_list_list_u8_t all = emptied(commands);
  redis_error problem;
  return reflow_capabilities_redis_method_connection_query_events(server, &all, events, &problem) || failed(&problem, error);
}

bool reflow_redis_eval(reflow_redis server, const char *script, reflow_bytes *keys, size_t key_count, reflow_bytes *arguments,
                       size_t argument_count, reflow_reply *reply, reflow_error *error) {
  reflow_string text = reflow_text(script);
  plugin_list_list_u8_t names = {keys, key_count}, values = {arguments, argument_count};
  reflow_capabilities_redis_list_reply_t parts;
  redis_error problem;
  if (!reflow_capabilities_redis_method_connection_eval(server, &text, &names, &values, &parts, &problem)) {
    return failed(&problem, error);
  }
  return nested(parts, 1, reply, error);
}
#endif
