// What a storage plugin for reflow-tracing is written with in C, C++ or Zig: define the functions named `backend_..`, which the
// host calls. The types come from the generated bindings (bindings/plugin.h), under short names.
//
// Memory: what the host passes and what functions of this header return lies in an arena, which is emptied when the next call
// begins. There is nothing to free. What must outlive a call (an open bucket) is copied into memory of your own.
#ifndef REFLOW_H
#define REFLOW_H

#include "plugin.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Types ----

/// Text in UTF-8, without a zero at its end: `ptr` and `len`.
typedef plugin_string_t reflow_string;
/// Bytes: `ptr` and `len`.
typedef plugin_list_u8_t reflow_bytes;
/// Bytes that may be absent: `is_some` and `val`.
typedef plugin_option_list_u8_t reflow_optional_bytes;
/// A UUID as its two big-endian halves: `high` and `low`.
typedef reflow_storage_types_uuid_t reflow_uuid;
/// The header of a trace.
typedef reflow_storage_types_trace_t reflow_trace;
/// A query for traces. All predicates that are present must hold.
typedef reflow_storage_types_trace_query_t reflow_query;
/// A request for a page: `limit`, `offset` and `token`.
typedef reflow_storage_types_page_request_t reflow_page;
/// A page of traces: `bodies`, and in `next` the token of the next page, absent on the last.
typedef reflow_storage_types_trace_page_t reflow_trace_page;
/// A page of events: `events` and `next`.
typedef exports_reflow_storage_backend_event_page_t reflow_event_page;
/// What the store holds.
typedef reflow_storage_types_stats_t reflow_stats;
/// The plugin's name, version and features.
typedef exports_reflow_storage_backend_info_t reflow_info;
/// Why a call failed. Set by reflow_fail.
typedef reflow_storage_types_storage_error_t reflow_error;
/// A batch of events, whose rows stay in the host. Valid until the call returns, and dropped by itself.
typedef reflow_storage_batch_borrow_event_batch_t reflow_batch;
/// A batch of one's own, for an answer.
typedef reflow_storage_batch_own_event_batch_t reflow_own_batch;
/// Texts of a column: text number i ends at `ends.ptr[i]`.
typedef reflow_storage_batch_texts_t reflow_texts;

/// The kinds of errors, which say what the host does.
enum reflow_error_kind {
  /// The request or the configuration is invalid.
  REFLOW_INVALID_ARGUMENT = REFLOW_STORAGE_TYPES_STORAGE_ERROR_INVALID_ARGUMENT,
  REFLOW_NOT_FOUND = REFLOW_STORAGE_TYPES_STORAGE_ERROR_NOT_FOUND,
  /// A conflict with a concurrent write: the host may call again.
  REFLOW_CONFLICT = REFLOW_STORAGE_TYPES_STORAGE_ERROR_CONFLICT,
  /// The database can't be reached or is overloaded: the host may call again.
  REFLOW_UNAVAILABLE = REFLOW_STORAGE_TYPES_STORAGE_ERROR_UNAVAILABLE,
  /// A limit of the store is reached: disk, quota, size.
  REFLOW_EXHAUSTED = REFLOW_STORAGE_TYPES_STORAGE_ERROR_EXHAUSTED,
  REFLOW_UNSUPPORTED = REFLOW_STORAGE_TYPES_STORAGE_ERROR_UNSUPPORTED,
  /// Everything else. Set `val.other.retryable` when the same call may succeed later.
  REFLOW_OTHER = REFLOW_STORAGE_TYPES_STORAGE_ERROR_OTHER,
};

// ---- What the plugin defines ----
// Each returns true, or false with the error set: `return reflow_fail(error, ..);`. wit/deps/storage/backend.wit says what each owes
// the host. Answers are zero when the function is called.

/// Called once for every instance, before anything else. The configuration is a JSON object, `{}` when there is none.
bool backend_open(reflow_string config, reflow_info *info, reflow_error *error);
/// Stores headers. Of several for one trace, the last one is stored.
bool backend_store_traces(const reflow_trace *traces, size_t count, reflow_error *error);
/// Stores events, which may belong to several traces and may be stored already.
bool backend_store_events(reflow_batch events, reflow_error *error);
/// Sets the bodies of the headers, in the order of the ids; those without a header stay absent.
bool backend_get_traces(const reflow_uuid *ids, size_t count, reflow_optional_bytes *bodies, reflow_error *error);
/// The headers that match, a page at a time.
bool backend_query_traces(const reflow_query *query, reflow_page page, reflow_trace_page *answer, reflow_error *error);
/// The events of a trace by ascending (timestamp, event id), a page at a time. Events that are not set are none.
bool backend_get_events(reflow_uuid trace, reflow_page page, reflow_event_page *answer, reflow_error *error);
/// Deletes traces with their events, and counts how many existed.
bool backend_delete_traces(const reflow_uuid *ids, size_t count, uint64_t *deleted, reflow_error *error);
/// What the store holds.
bool backend_stats(reflow_stats *stats, reflow_error *error);
/// Reaches everything that a write needs, and changes nothing.
bool backend_health_check(reflow_error *error);
/// Work to do about once a minute. Only with `export reflow:storage/maintenance@..;` in wit/world.wit.
bool backend_maintain(reflow_error *error);
/// Drops the oldest partition that holds traces, if every trace in it started before a time, and counts them; called until it
/// counts none. Only with `export reflow:storage/expiry@..;` in wit/world.wit.
bool backend_drop_oldest(int64_t ended_by, uint64_t *dropped, reflow_error *error);

// ---- Errors and the log ----

/// Sets the error, whose message is written like that of printf, and returns false. `%.*s` takes REFLOW_ARG(text).
bool reflow_fail(reflow_error *error, enum reflow_error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/// A text or bytes for `%.*s`.
#define REFLOW_ARG(text) (int)(text).len, (const char *)(text).ptr

#ifdef REFLOW_CAPABILITIES_LOG_LEVEL_INFO
/// Writes to the host's log, like printf. The levels are REFLOW_CAPABILITIES_LOG_LEVEL_..
void reflow_log(reflow_capabilities_log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif

// ---- Memory, bytes and keys ----

/// Memory from the arena, for any type. Never NULL: the call ends with a trap when there is no memory left.
void *reflow_alloc(size_t size);
/// How full the arena is, to give back what is used from here on.
typedef struct {
  void *chunk;
  size_t used;
} reflow_mark;
reflow_mark reflow_get_mark(void);
/// Gives back everything that was allocated since the mark. Nothing of it may be used afterwards.
void reflow_release(reflow_mark mark);

/// Bytes that grow. `{0}` is empty.
typedef struct {
  uint8_t *ptr;
  size_t len;
  size_t capacity;
} reflow_buffer;
void reflow_append(reflow_buffer *buffer, const void *bytes, size_t len);
void reflow_append_byte(reflow_buffer *buffer, uint8_t byte);
/// A text with a zero at its end, without that.
void reflow_append_text(reflow_buffer *buffer, const char *text);
/// 4 or 8 bytes, big-endian.
void reflow_append_u32(reflow_buffer *buffer, uint32_t number);
void reflow_append_u64(reflow_buffer *buffer, uint64_t number);
/// 8 bytes that sort like the number: big-endian, with the sign bit flipped.
void reflow_append_sortable(reflow_buffer *buffer, int64_t number);
/// The 16 bytes of the UUID, which sort like it.
void reflow_append_uuid(reflow_buffer *buffer, reflow_uuid id);
uint32_t reflow_read_u32(const uint8_t *bytes);
uint64_t reflow_read_u64(const uint8_t *bytes);
int64_t reflow_read_sortable(const uint8_t *bytes);
reflow_uuid reflow_read_uuid(const uint8_t *bytes);

/// What the buffer holds.
static inline reflow_bytes reflow_bytes_of(const reflow_buffer *buffer) {
  reflow_bytes bytes = {buffer->ptr, buffer->len};
  return bytes;
}
/// A literal, or other text with a zero at its end, as it is.
reflow_string reflow_text(const char *text);
/// A text as bytes.
static inline reflow_bytes reflow_bytes_of_text(reflow_string text) {
  reflow_bytes bytes = {text.ptr, text.len};
  return bytes;
}
static inline reflow_optional_bytes reflow_some(reflow_bytes bytes) {
  reflow_optional_bytes some = {true, bytes};
  return some;
}
/// Negative, 0 or positive, like memcmp; of two of which one begins with the other, the shorter is less.
int reflow_compare(reflow_bytes left, reflow_bytes right);
bool reflow_equal(reflow_string left, reflow_string right);
/// Whether the text has the part in it.
bool reflow_contains(reflow_string text, reflow_string part);
int reflow_compare_uuids(reflow_uuid left, reflow_uuid right);
/// The hyphenated form.
reflow_string reflow_uuid_text(reflow_uuid id);

// ---- Batches ----

/// How many events the batch has.
uint32_t reflow_batch_len(reflow_batch batch);
/// The column of a field with texts. An absent value is empty.
bool reflow_batch_texts(reflow_batch batch, const char *field, reflow_texts *texts, reflow_error *error);
/// Text number `index` of a column.
reflow_string reflow_text_at(const reflow_texts *texts, size_t index);
/// The column of a field with integers; an absent value is 0.
bool reflow_batch_integers(reflow_batch batch, const char *field, plugin_list_s64_t *integers, reflow_error *error);
/// The column of a field with UUIDs; an absent value is zero. As many as the batch has events.
bool reflow_batch_uuids(reflow_batch batch, const char *field, reflow_uuid **uuids, reflow_error *error);

// ---- Ordered keys and values ----
#ifdef REFLOW_CAPABILITIES_KEYVALUE_KEYVALUE_ERROR_NO_SUCH_LABEL

/// A bucket that the operator granted. Stays open.
typedef reflow_capabilities_keyvalue_borrow_bucket_t reflow_bucket;
typedef reflow_capabilities_keyvalue_entry_t reflow_entry;
typedef reflow_capabilities_keyvalue_part_t reflow_part;
typedef reflow_capabilities_keyvalue_event_entry_t reflow_event_entry;

/// Opens the bucket that the operator granted under the label.
bool reflow_open(const char *label, reflow_bucket *bucket, reflow_error *error);
bool reflow_get(reflow_bucket bucket, reflow_bytes key, reflow_optional_bytes *value, reflow_error *error);
/// The values of several keys at one moment, in the order of the keys.
bool reflow_get_many(reflow_bucket bucket, reflow_bytes *keys, size_t count, reflow_optional_bytes **values, reflow_error *error);
/// Sets `value`, or deletes when it is absent, if the current value is `expected` (absent: the key does not exist).
bool reflow_compare_and_set(reflow_bucket bucket, reflow_bytes key, reflow_optional_bytes expected, reflow_optional_bytes value,
                            bool *done, reflow_error *error);
/// How many keys begin with the prefix. The cost grows with their number.
bool reflow_count(reflow_bucket bucket, reflow_bytes prefix, uint64_t *count, reflow_error *error);

/// Changes that are applied together. `{0}` is none.
typedef struct {
  reflow_capabilities_keyvalue_change_t *ptr;
  size_t len;
  size_t capacity;
} reflow_changes;
void reflow_set(reflow_changes *changes, reflow_bytes key, reflow_bytes value);
void reflow_delete(reflow_changes *changes, reflow_bytes key);
/// Applies all changes or none, in order, and empties the list.
bool reflow_apply(reflow_bucket bucket, reflow_changes *changes, reflow_error *error);

/// A listing of the entries whose keys begin with a prefix, a page at a time.
typedef struct {
  reflow_bucket bucket;
  reflow_bytes prefix;
  bool reverse;
  uint32_t limit;
  /// The page that is read, and the cursor that it was read with.
  reflow_entry *entries;
  size_t len;
  size_t index;
  reflow_optional_bytes cursor;
  reflow_optional_bytes next;
  bool started;
  bool failed;
} reflow_listing;
/// A listing from the cursor on, which is absent or the `next` of the same listing.
reflow_listing reflow_list(reflow_bucket bucket, reflow_bytes prefix, reflow_optional_bytes cursor, bool reverse);
/// The next entry. False at the end, and after an error, when `failed` is set.
bool reflow_next(reflow_listing *listing, reflow_entry *entry, reflow_error *error);

/// Pieces of the keys and values that the host writes for each event of a batch.
reflow_part reflow_fixed(const char *text);
/// A field of the event as text, by the name that wit/deps/storage/batch.wit lists; `body` is its bytes.
reflow_part reflow_field(const char *name);
/// The same in bytes that sort like the value, as the functions above write them.
reflow_part reflow_sortable(const char *name);
/// `1` when the event has a value in this field, `0` when it is absent.
reflow_part reflow_present(const char *name);
/// Sets the entries of each event of the batch, all or none; the events never enter the plugin. An event is skipped when the key of
/// its first entry exists.
bool reflow_insert_batch(reflow_bucket bucket, reflow_event_entry *entries, size_t count, reflow_batch batch, reflow_error *error);
/// A page of entries whose values are bodies of events, which never enter the plugin.
bool reflow_scan_events(reflow_bucket bucket, reflow_bytes prefix, reflow_optional_bytes cursor, uint32_t limit,
                        reflow_event_page *page, reflow_error *error);
#endif

// ---- For the SDK ----
void *reflow_arena_realloc(void *earlier, size_t size);
void reflow_arena_free(void *memory);
void reflow_enter(void);
void reflow_leave(void);
/// What is done at the end of each call.
void reflow_at_leave(void (*function)(void));

#ifdef __cplusplus
}
#endif
#endif
