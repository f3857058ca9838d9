// A backend of reflow-tracing over one bucket of ordered keys and values. Several instances may work on the bucket at a time:
// what belongs together is written by one Apply, all or nothing, and nothing is kept in memory.
package main

import (
	"errors"

	"github.com/offbit-ai/reflow/sdk/go/keyvalue"
	"github.com/offbit-ai/reflow/sdk/go/log"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func init() { plugin.Export(&backend{}) }

func main() {}

type backend struct{ bucket *keyvalue.Bucket }

// Open opens the bucket that the operator granted: grants = { keyvalue = { default = "file:traces.kv" } }.
func (b *backend) Open(config string) (info plugin.Info, err error) {
	if config != "{}" {
		return info, plugin.InvalidArgument("this plugin has no settings, but was given %s", config)
	}
	b.bucket, err = keyvalue.Open("default")
	log.Debug("opened")
	return plugin.Info{Name: plugin.Name, Version: "0.1.0"}, err
}

// StoreTraces sets each header together with its key by start time. That key of an earlier header goes when the start
// changed; one that a concurrent writer leaves behind belongs to no header, and is passed over.
func (b *backend) StoreTraces(traces []plugin.Trace) error {
	last := map[plugin.UUID]plugin.Trace{}
	for _, trace := range traces {
		last[trace.ID] = trace
	}
	var ids []plugin.UUID
	for id := range last {
		ids = append(ids, id)
	}
	stored, err := b.headers(ids)
	if err != nil {
		return err
	}
	var changes []keyvalue.Change
	for i, id := range ids {
		trace := last[id]
		if earlier := stored[i]; earlier != nil && earlier.Start != trace.Start {
			changes = append(changes, keyvalue.Remove(timeKey(earlier.Start, id)))
		}
		changes = append(changes,
			keyvalue.Put(headerKey(id), encodeHeader(trace)),
			keyvalue.Put(timeKey(trace.Start, id), nil))
	}
	return b.bucket.Apply(changes)
}

// StoreEvents lets the host store the batch: no event enters the plugin.
func (b *backend) StoreEvents(events *plugin.EventBatch) error {
	_, err := b.bucket.InsertBatch([]keyvalue.EventEntry{eventEntry, actorEntry, kindEntry, errorEntry}, events)
	var failed *keyvalue.Error
	if errors.As(err, &failed) && failed.Kind == keyvalue.LimitExceeded {
		return b.storeLongNames(events)
	}
	return err
}

func (b *backend) GetTraces(ids []plugin.UUID) ([][]byte, error) {
	headers, err := b.headers(ids)
	bodies := make([][]byte, len(headers))
	for i, header := range headers {
		if header != nil {
			bodies[i] = header.Body
		}
	}
	return bodies, err
}

// GetEvents lets the host fill the answer. The token is the cursor of the listing.
func (b *backend) GetEvents(trace plugin.UUID, page plugin.Page) (answer plugin.EventPage, err error) {
	cursor := page.Token
	for skip := page.Offset; skip > 0; {
		skipped, next, err := b.bucket.ScanEvents(eventsOf(trace), cursor, int(min(skip, 10_000)), false)
		if err != nil {
			return answer, err
		}
		skip -= uint64(skipped.Len())
		skipped.Drop()
		if cursor = next; cursor == nil {
			return plugin.EventPage{Events: plugin.NewEventBatch()}, nil
		}
	}
	answer.Events, answer.Next, err = b.bucket.ScanEvents(eventsOf(trace), cursor, page.Limit, false)
	return answer, err
}

// DeleteTraces deletes the header first, so that no query finds a trace that has lost events. A trace is counted as long as anything
// of it is left, so a call that was interrupted can be repeated.
func (b *backend) DeleteTraces(ids []plugin.UUID) (deleted uint64, err error) {
	for _, id := range ids {
		existed := false
		headers, err := b.headers([]plugin.UUID{id})
		if err != nil {
			return deleted, err
		}
		var changes []keyvalue.Change
		if header := headers[0]; header != nil {
			existed = true
			changes = append(changes, keyvalue.Remove(headerKey(id)), keyvalue.Remove(timeKey(header.Start, id)))
		}
		for _, prefix := range [][]byte{eventsOf(id), actorsOf(id), kindsOf(id), errorsOf(id)} {
			for key, err := range b.bucket.Keys(prefix) {
				if err != nil {
					return deleted, err
				}
				existed = existed || prefix[0] == 'e'
				if changes = append(changes, keyvalue.Remove(key)); len(changes) >= 1000 {
					if err := b.bucket.Apply(changes); err != nil {
						return deleted, err
					}
					changes = nil
				}
			}
		}
		if err := b.bucket.Apply(changes); err != nil {
			return deleted, err
		}
		if existed {
			deleted++
		}
	}
	return deleted, nil
}

func (b *backend) Stats() (stats plugin.Stats, err error) {
	if stats.Traces, err = b.bucket.Count([]byte("h")); err != nil {
		return stats, err
	}
	if stats.Events, err = b.bucket.Count([]byte("e")); err != nil {
		return stats, err
	}
	if stats.Oldest, err = b.firstStart(&plugin.Query{Ascending: true}); err != nil {
		return stats, err
	}
	stats.Newest, err = b.firstStart(&plugin.Query{})
	return stats, err
}

// HealthCheck attempts a write whose condition never holds.
func (b *backend) HealthCheck() error {
	_, err := b.bucket.CompareAndSet([]byte("health"), []byte("never"), nil)
	return err
}
