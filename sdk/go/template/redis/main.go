// A backend of reflow-tracing over a Redis server. Several instances may work on the server at a time: what belongs together is written by
// one transaction, and nothing is kept in memory.
package main

import (
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	"github.com/offbit-ai/reflow/sdk/go/redis"
)

func init() { plugin.Export(&backend{}) }

func main() {}

type backend struct{ server *redis.Connection }

// Open opens the server that the operator granted: grants = { redis = { default = "redis://127.0.0.1:6379/0" } }.
func (b *backend) Open(config string) (info plugin.Info, err error) {
	if config != "{}" {
		return info, plugin.InvalidArgument("this plugin has no settings, but was given %s", config)
	}
	b.server, err = redis.Open("default")
	return plugin.Info{Name: plugin.Name, Version: "0.1.0"}, err
}

// headers reads the headers of traces; nil where none is stored.
func (b *backend) headers(ids []plugin.UUID) ([]*header, error) {
	found := make([]*header, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	reply, err := b.server.Do("HMGET", headers, keysOf(ids))
	for i, value := range reply.Elements() {
		if !value.IsNil() && err == nil {
			found[i], err = decodeHeader(value.Bytes())
		}
	}
	return found, err
}

func keysOf(ids []plugin.UUID) [][]byte {
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = id[:]
	}
	return keys
}

// StoreTraces stores each header together with its places by start time. Those of an earlier header go when the start changed; ones that
// a concurrent writer leaves behind belong to no header, and are passed over.
func (b *backend) StoreTraces(traces []plugin.Trace) error {
	ids := make([]plugin.UUID, len(traces))
	for i, trace := range traces {
		ids[i] = trace.ID
	}
	stored, err := b.headers(ids)
	if err != nil {
		return err
	}
	starts := map[plugin.UUID]plugin.Timestamp{}
	for i, earlier := range stored {
		if earlier != nil {
			starts[ids[i]] = earlier.Start
		}
	}
	var commands []redis.Command
	for _, trace := range traces {
		if start, known := starts[trace.ID]; known && start != trace.Start {
			commands = append(commands, remove(start, trace.ID)...)
		}
		starts[trace.ID] = trace.Start
		commands = append(commands, redis.Cmd("HSET", headers, trace.ID[:], encodeHeader(trace)))
		commands = append(commands, add(trace.Start, trace.ID)...)
	}
	return b.apply(commands)
}

// apply runs the commands in one transaction.
func (b *backend) apply(commands []redis.Command) error {
	replies, _, err := b.server.Atomically(nil, commands...)
	if err != nil {
		return err
	}
	return redis.FirstError(replies)
}

// StoreEvents lets the host run the commands for each event: none enters the plugin. The body comes last, so a batch that was cut off is
// stored by the next attempt.
func (b *backend) StoreEvents(batch *plugin.EventBatch) error {
	_, err := b.server.PipelineBatch(isStored, []redis.Template{addNames, addEvent, storeBody}, batch)
	return err
}

func (b *backend) GetTraces(ids []plugin.UUID) ([][]byte, error) {
	found, err := b.headers(ids)
	bodies := make([][]byte, len(found))
	for i, header := range found {
		if header != nil {
			bodies[i] = header.Body
		}
	}
	return bodies, err
}

// GetEvents reads the places of a page, and lets the host fill the answer with their bodies. The token is the last place.
func (b *backend) GetEvents(trace plugin.UUID, page plugin.Page) (answer plugin.EventPage, err error) {
	first := from(trace[:])
	if page.Token != nil {
		if len(page.Token) != 40 || plugin.UUID(page.Token[:16]) != trace {
			return answer, plugin.InvalidArgument("the page token is not one of this plugin's")
		}
		first = after(page.Token)
	}
	// An offset beyond what Redis can count is beyond all events.
	places, err := b.places(first, trace, min(page.Offset, 1<<62), page.Limit)
	if err != nil || len(places) == 0 {
		return answer, err
	}
	if len(places) == page.Limit {
		answer.Next = places[len(places)-1]
	}
	answer.Events, err = b.server.QueryEvents(redis.Cmd("HMGET", bodies, places))
	return answer, err
}

// places is the places of a trace's events, from the bound on.
func (b *backend) places(first []byte, trace plugin.UUID, offset uint64, limit int) ([][]byte, error) {
	reply, err := b.server.Do("ZRANGEBYLEX", events, first, upTo(trace[:]), "LIMIT", offset, limit)
	places := make([][]byte, len(reply.Elements()))
	for i, place := range reply.Elements() {
		places[i] = place.Bytes()
	}
	return places, err
}

// DeleteTraces deletes the header first, so that no query finds a trace that has lost events. A trace is counted as long as anything of
// it is left, so a call that was interrupted can be repeated.
func (b *backend) DeleteTraces(ids []plugin.UUID) (deleted uint64, err error) {
	for _, id := range ids {
		stored, err := b.headers([]plugin.UUID{id})
		if err != nil {
			return deleted, err
		}
		existed := stored[0] != nil
		if existed {
			if err := b.apply(append(remove(stored[0].Start, id), redis.Cmd("HDEL", headers, id[:]))); err != nil {
				return deleted, err
			}
		}
		for {
			places, err := b.places(from(id[:]), id, 0, 1000)
			if err != nil {
				return deleted, err
			}
			if len(places) == 0 {
				break
			}
			existed = true
			if err := b.apply([]redis.Command{redis.Cmd("HDEL", bodies, places), redis.Cmd("ZREM", events, places)}); err != nil {
				return deleted, err
			}
		}
		if _, err := b.server.Do("DEL", namesOf(id)); err != nil {
			return deleted, err
		}
		if existed {
			deleted++
		}
	}
	return deleted, nil
}

func (b *backend) Stats() (stats plugin.Stats, err error) {
	replies, err := b.server.Pipeline(redis.Cmd("HLEN", headers), redis.Cmd("HLEN", bodies))
	if err != nil {
		return stats, err
	}
	if err := redis.FirstError(replies); err != nil {
		return stats, err
	}
	stats.Traces, stats.Events = uint64(replies[0].Int()), uint64(replies[1].Int())
	if stats.Oldest, err = b.firstStart(&plugin.Query{Ascending: true}); err != nil {
		return stats, err
	}
	stats.Newest, err = b.firstStart(&plugin.Query{})
	return stats, err
}

// HealthCheck attempts a write that changes nothing: Redis checks what a write needs, and then does not create the key.
func (b *backend) HealthCheck() error {
	_, err := b.server.Do("SETRANGE", "health", 0, "")
	return err
}
