package main

import (
	"iter"
	"math"

	"github.com/offbit-ai/reflow/sdk/go/keyvalue"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// position is the place of a trace in the order of a query, and the cursor of the page of keys that has it.
type position struct {
	start  plugin.Timestamp
	id     plugin.UUID
	cursor []byte
}

// token is the position for the next page, which any instance can continue from.
func (p *position) token() []byte {
	kind := byte(0)
	if p.cursor != nil {
		kind = 1
	}
	return keyvalue.Key([]byte{kind}, keyvalue.Sort(int64(p.start)), p.id[:], p.cursor)
}

// parseToken is nil for the first page.
func parseToken(token []byte) (*position, error) {
	if token == nil {
		return nil, nil
	}
	if len(token) < 25 || token[0] > 1 || token[0] == 0 && len(token) > 25 {
		return nil, plugin.InvalidArgument("the page token is not one of this plugin's")
	}
	at := &position{start: plugin.Timestamp(keyvalue.Unsort(token[1:9])), id: plugin.UUID(token[9:25])}
	if token[0] == 1 {
		at.cursor = token[25:]
	}
	return at, nil
}

// before says whether p comes before the other position.
func (p *position) before(other *position, ascending bool) bool {
	if p.start != other.start {
		return (p.start < other.start) == ascending
	}
	return string(p.id[:]) < string(other.id[:])
}

// walk is the traces within the bounds of the query, in its order, behind a position. Equal starts come by ascending id in
// either order. A listing in reverse order has them by descending id, so they are listed again by themselves.
func (b *backend) walk(query *plugin.Query, after *position) iter.Seq2[position, error] {
	from, to := plugin.Timestamp(math.MinInt64), plugin.Timestamp(math.MaxInt64)
	if query.StartFrom != nil {
		from = *query.StartFrom
	}
	if query.StartTo != nil {
		to = *query.StartTo
	}
	return func(yield func(position, error) bool) {
		if from > to {
			return
		}
		unread := func(at position) bool { return after == nil || after.before(&at, query.Ascending) }
		// A trace that is held back until the next key shows whether others began at the same time.
		var held *position
		tied := false
		for at, err := range b.keys(prefixOf(from, to), after, !query.Ascending) {
			if err != nil {
				yield(at, err)
				return
			}
			if at.start < from || at.start > to {
				if (at.start > to) == query.Ascending {
					break
				}
				continue
			}
			if query.Ascending {
				if unread(at) && !yield(at, nil) {
					return
				}
				continue
			}
			if held != nil && held.start == at.start {
				if tied {
					continue
				}
				tied = true
				for twin, err := range b.twins(*held) {
					if (err != nil || unread(twin)) && !yield(twin, err) {
						return
					}
				}
				continue
			}
			if held != nil && !tied && unread(*held) && !yield(*held, nil) {
				return
			}
			held, tied = &at, false
		}
		if held != nil && !tied && unread(*held) {
			yield(*held, nil)
		}
	}
}

// twins is the traces that began with this one, by ascending id. They have its cursor: a listing from there has all of them.
func (b *backend) twins(at position) iter.Seq2[position, error] {
	return func(yield func(position, error) bool) {
		prefix := keyvalue.Key([]byte("t"), keyvalue.Sort(int64(at.start)))
		for key, err := range b.bucket.Keys(prefix) {
			twin := at
			if err == nil {
				twin.id = plugin.UUID(key[9:])
			}
			if !yield(twin, err) {
				return
			}
		}
	}
}

// keys is the traces by start time, from the page of the position on.
func (b *backend) keys(prefix []byte, after *position, reverse bool) iter.Seq2[position, error] {
	return func(yield func(position, error) bool) {
		var cursor []byte
		if after != nil {
			cursor = after.cursor
		}
		for {
			entries, next, err := b.bucket.Scan(prefix, cursor, 1000, reverse)
			if err != nil {
				yield(position{}, err)
				return
			}
			for _, entry := range entries {
				start := plugin.Timestamp(keyvalue.Unsort(entry.Key[1:9]))
				if !yield(position{start: start, id: plugin.UUID(entry.Key[9:]), cursor: cursor}, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			cursor = next
		}
	}
}

// prefixOf is what all keys between two starts begin with.
func prefixOf(from, to plugin.Timestamp) []byte {
	first, last := timeKey(from, plugin.UUID{}), timeKey(to, plugin.UUID{})
	length := 1
	for length < 9 && first[length] == last[length] {
		length++
	}
	return first[:length]
}
