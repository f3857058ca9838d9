// The keys of the bucket:
//
//   "h" id                      the header
//   "t" start id                nothing: the traces by start time
//   "e" id timestamp event-id   the body of an event
//   "a" id actor-id             nothing: the actors of a trace
//   "k" id event-type           nothing: the kinds of events
//   "x" id present              nothing: "1" when an event has an error
//
// A name that is too long for a key is a value instead: of "a" id 0xFF event-id, or of "k" id 0xFF event-id. No text has the byte
// 0xFF.
#ifndef LAYOUT_H
#define LAYOUT_H

#include "header.h"

/// The bucket of this instance.
extern reflow_bucket bucket;

enum { TIME_KEY = 1 + 8 + 16 };

/// A letter and an id: the key of a header, or what the keys of a trace's events, actors, kinds and errors begin with.
reflow_bytes key_of(char letter, reflow_uuid id);
reflow_bytes time_key(int64_t start, reflow_uuid id);

/// Lets the host store the batch, each event under its keys.
bool store_batch(reflow_batch events, reflow_error *error);

/// What a query asks of a name of a trace.
typedef bool name_test(reflow_string name, const void *argument);
/// Whether an actor ('a') or a kind ('k') of the trace passes the test.
bool any_name(char letter, reflow_uuid id, name_test *test, const void *argument, bool *found, reflow_error *error);

/// The values of headers, in the order of the ids; absent where none is stored.
bool read_headers(const reflow_uuid *ids, size_t count, reflow_optional_bytes **values, reflow_error *error);

#endif
