package main

import (
	"bytes"
	"math"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
	"github.com/offbit-ai/reflow/sdk/go/redis"
)

// The keys of the server, under the prefix of the grant:
//
//	headers    hash         id to the header
//	earliest   sorted set   start id: the traces by ascending start, all with score 0, so they are sorted by their bytes
//	latest     sorted set   the same by descending start; equal starts come by ascending id here too
//	events     sorted set   id timestamp event-id: the places of the events
//	bodies     hash         place to the body of an event, which counts as stored once its body is here
//	names:ID   set          "a" and an actor id, "k" and a kind, "x1" for an event with an error, of the trace's events
const (
	headers  = "headers"
	earliest = "earliest"
	latest   = "latest"
	events   = "events"
	bodies   = "bodies"
)

func namesOf(id plugin.UUID) string { return "names:" + id.String() }

// What the server runs for each event.
var (
	place     = redis.Join(redis.Sortable("trace-id"), redis.Sortable("timestamp"), redis.Sortable("event-id"))
	isStored  = redis.Fill("HEXISTS", redis.Join(redis.Fixed(bodies)), place)
	storeBody = redis.Fill("HSETNX", redis.Join(redis.Fixed(bodies)), place, redis.Join(redis.Field("body")))
	addEvent  = redis.Fill("ZADD", redis.Join(redis.Fixed(events)), redis.Join(redis.Fixed("0")), place)
	addNames  = redis.Fill("SADD", redis.Join(redis.Fixed("names:"), redis.Field("trace-id")),
		redis.Join(redis.Fixed("a"), redis.Field("actor-id")),
		redis.Join(redis.Fixed("k"), redis.Field("event-type")),
		redis.Join(redis.Fixed("x"), redis.Present("error")))
)

// startPlace is the place of a trace in the order of its start.
func startPlace(start plugin.Timestamp, id plugin.UUID, ascending bool) []byte {
	if !ascending {
		start = ^start
	}
	return plugin.Key(plugin.Sort(int64(start)), id[:])
}

func parseStartPlace(place []byte, ascending bool) (start plugin.Timestamp, id plugin.UUID) {
	start = plugin.Timestamp(plugin.Unsort(place[:8]))
	if !ascending {
		start = ^start
	}
	return start, plugin.UUID(place[8:])
}

// add and remove are the commands that put a trace into the orders, and take it out.
func add(start plugin.Timestamp, id plugin.UUID) []redis.Command {
	return []redis.Command{
		redis.Cmd("ZADD", earliest, 0, startPlace(start, id, true)),
		redis.Cmd("ZADD", latest, 0, startPlace(start, id, false)),
	}
}

func remove(start plugin.Timestamp, id plugin.UUID) []redis.Command {
	return []redis.Command{
		redis.Cmd("ZREM", earliest, startPlace(start, id, true)),
		redis.Cmd("ZREM", latest, startPlace(start, id, false)),
	}
}

// Bounds of a range in a sorted set.

func from(place []byte) []byte  { return append([]byte("["), place...) }
func after(place []byte) []byte { return append([]byte("("), place...) }

// upTo is the end of the places that begin like this.
func upTo(prefix []byte) []byte {
	return plugin.Key([]byte("["), prefix, bytes.Repeat([]byte{0xff}, 24))
}

// bounds is the range of the traces that the query allows by their start.
func bounds(query *plugin.Query) (first, last []byte) {
	earliest, latest := plugin.Timestamp(math.MinInt64), plugin.Timestamp(math.MaxInt64)
	if query.StartFrom != nil {
		earliest = *query.StartFrom
	}
	if query.StartTo != nil {
		latest = *query.StartTo
	}
	if !query.Ascending {
		earliest, latest = latest, earliest
	}
	var none plugin.UUID
	return from(startPlace(earliest, none, query.Ascending)[:8]), upTo(startPlace(latest, none, query.Ascending)[:8])
}
