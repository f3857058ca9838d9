// The keys of the server, under the prefix of the grant:
//
//   headers    hash         id to the header
//   earliest   sorted set   start id: the traces by ascending start, all with score 0, so they are sorted by their bytes
//   latest     sorted set   the same by descending start; equal starts come by ascending id here too
//   events     sorted set   id timestamp event-id: the places of the events
//   bodies     hash         place to the body of an event, which counts as stored once its body is here
//   names:ID   set          "a" and an actor id, "k" and a kind, "x1" for an event with an error, of the trace's events
#ifndef LAYOUT_H
#define LAYOUT_H

#include "header.h"
#include "redis.h"

/// The server of this instance.
extern reflow_redis server;

enum { START_PLACE = 8 + 16, EVENT_PLACE = 16 + 8 + 16 };

reflow_bytes id_bytes(reflow_uuid id);

/// The place of a trace in an order.
reflow_bytes start_place(int64_t start, reflow_uuid id, bool ascending);
int64_t start_of(reflow_bytes place, bool ascending);

/// The commands that put a trace into both orders, and take it out.
void enter(reflow_commands *commands, int64_t start, reflow_uuid id);
void leave(reflow_commands *commands, int64_t start, reflow_uuid id);

/// Bounds of a range in a sorted set: from a place on, behind it, and up to the last that begins like this.
reflow_bytes from(reflow_bytes place);
reflow_bytes after(reflow_bytes place);
reflow_bytes up_to(reflow_bytes prefix);

/// The headers of traces, in the order of the ids; `is_some` is false where none is stored.
typedef struct {
  bool is_some;
  reflow_trace header;
} stored;
bool read_headers(const reflow_uuid *ids, size_t count, stored **found, reflow_error *error);

#endif
