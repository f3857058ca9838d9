// Redis servers that the operator has granted, by label. The host puts the prefix of the grant before every key of a command and takes it
// off the keys of an answer.
#ifndef REFLOW_REDIS_H
#define REFLOW_REDIS_H

#include "reflow.h"

#ifndef REFLOW_CAPABILITIES_REDIS_REPLY_NIL
#error "redis.h needs the line `import reflow:capabilities/redis@0.1.1;` in wit/world.wit"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// A server. Stays open.
typedef reflow_capabilities_redis_borrow_connection_t reflow_redis;

/// Opens the server that the operator granted under the label.
bool reflow_redis_open(const char *label, reflow_redis *server, reflow_error *error);

/// Commands that run together. `{0}` is none.
typedef struct {
  plugin_list_list_u8_t *ptr;
  size_t len;
  size_t capacity;
  /// How many arguments fit into the last command.
  size_t room;
} reflow_commands;
/// Adds a command, whose name and arguments are separated by spaces: `%s` is a text with a zero at its end, `%b` is reflow_bytes, `%d`
/// and `%u` are an int, `%lld` and `%llu` a long long, and a value with spaces in it is one argument.
///
///     reflow_command(&commands, "ZADD starts 0 %b", place);
void reflow_command(reflow_commands *commands, const char *format, ...);
/// Adds an argument to the last command.
void reflow_argument(reflow_commands *commands, reflow_bytes argument);

/// The reply to a command.
typedef struct reflow_reply {
  /// One of REFLOW_CAPABILITIES_REDIS_REPLY_...
  uint8_t tag;
  /// The number of an integer.
  int64_t integer;
  /// The bytes of a string or of a status.
  reflow_bytes bytes;
  /// The elements of an array.
  struct reflow_reply *elements;
  size_t len;
} reflow_reply;
/// What Redis answers for what does not exist.
static inline bool reflow_is_nil(const reflow_reply *reply) { return reply->tag == REFLOW_CAPABILITIES_REDIS_REPLY_NIL; }

/// Runs the commands in one round trip, in order, and empties the list. Sets a reply for each, unless `replies` is NULL. Fails with the
/// error of the first command that the server refused; the others have run.
bool reflow_redis_run(reflow_redis server, reflow_commands *commands, reflow_reply **replies, reflow_error *error);

/// A key, and the string that it must hold; absent: it must not exist.
typedef reflow_capabilities_redis_expectation_t reflow_expectation;
/// The same as one transaction, if every key holds its expected value until the commands have run. Otherwise nothing runs and `ran` is
/// false: read again, then retry. Without expectations `ran` may be NULL.
bool reflow_redis_atomically(reflow_redis server, reflow_expectation *expected, size_t count, reflow_commands *commands, bool *ran,
                             reflow_reply **replies, reflow_error *error);

/// A command for each event of a batch.
typedef reflow_capabilities_redis_list_list_part_t reflow_template;
/// Makes a template of a name and arguments that are separated by spaces. In an argument, `{FIELD}` is a field of the event as text, by
/// the name that wit/deps/storage/batch.wit lists, `{sort:FIELD}` the same in bytes that sort like the value, as reflow_append_sortable
/// and reflow_append_uuid write them, and `{has:FIELD}` is `1` when the event has a value in it, `0` when it is absent.
///
///     reflow_fill("SADD actors:{trace-id} {actor-id}")
reflow_template reflow_fill(const char *command);
/// Runs the commands once for each event of the batch, which never enters the plugin. An event is skipped when the command `unless`
/// answers with anything but 0 or nil; without one (NULL), none is.
bool reflow_redis_run_batch(reflow_redis server, reflow_template *unless, reflow_template *commands, size_t count, reflow_batch batch,
                            reflow_error *error);

/// Runs commands that answer with bodies of events, nested in arrays or not, which never enter the plugin, and empties the list. Nil is
/// skipped.
bool reflow_redis_query_events(reflow_redis server, reflow_commands *commands, reflow_own_batch *events, reflow_error *error);
/// Runs a Lua script, which needs its own grant (`scripts = true`).
bool reflow_redis_eval(reflow_redis server, const char *script, reflow_bytes *keys, size_t key_count, reflow_bytes *arguments,
                       size_t argument_count, reflow_reply *reply, reflow_error *error);

#ifdef __cplusplus
}
#endif
#endif
