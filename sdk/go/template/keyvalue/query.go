package main

import (
	"slices"
	"strings"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// chunk is how many headers a query reads at a time.
const chunk = 100

// QueryTraces walks the traces by start time, reads the headers in chunks, and looks at the events' keys only where the query asks.
func (b *backend) QueryTraces(query *plugin.Query, page plugin.Page) (answer plugin.TracePage, err error) {
	if len(query.More) > 0 {
		return answer, plugin.Unsupported("the predicate `%s`", query.More[0].Name)
	}
	after, err := parseToken(page.Token)
	if err != nil {
		return answer, err
	}
	skip := page.Offset
	var last *position
	err = b.matching(query, after, func(at position, found *header) bool {
		if skip > 0 {
			skip--
			return true
		}
		if len(answer.Bodies) == page.Limit {
			answer.Next = last.token()
			return false
		}
		answer.Bodies = append(answer.Bodies, found.Body)
		last = &at
		return true
	})
	return answer, err
}

// firstStart is the start of the first trace of the order that the query asks for.
func (b *backend) firstStart(query *plugin.Query) (start *plugin.Timestamp, err error) {
	err = b.matching(query, nil, func(_ position, found *header) bool {
		start = &found.Start
		return false
	})
	return start, err
}

// matching calls yield with each trace that matches, in order, until it returns false.
func (b *backend) matching(query *plugin.Query, after *position, yield func(position, *header) bool) error {
	var waiting []position
	flush := func() (more bool, err error) {
		ids := make([]plugin.UUID, len(waiting))
		for i, at := range waiting {
			ids[i] = at.id
		}
		headers, err := b.headers(ids)
		if err != nil {
			return false, err
		}
		for i, found := range headers {
			// A key that a concurrent writer or a deletion left behind belongs to no header.
			if found == nil || found.Start != waiting[i].start {
				continue
			}
			matches, err := b.matches(query, ids[i], found)
			if err != nil {
				return false, err
			}
			if matches && !yield(waiting[i], found) {
				return false, nil
			}
		}
		waiting = waiting[:0]
		return true, nil
	}
	for at, err := range b.walk(query, after) {
		if err != nil {
			return err
		}
		if waiting = append(waiting, at); len(waiting) == chunk {
			if more, err := flush(); !more || err != nil {
				return err
			}
		}
	}
	_, err := flush()
	return err
}

func (b *backend) matches(query *plugin.Query, id plugin.UUID, found *header) (bool, error) {
	if !found.matches(query) {
		return false, nil
	}
	if query.Actor != nil {
		actors, err := b.names(actorsOf(id))
		if err != nil || !slices.ContainsFunc(actors, func(actor string) bool { return strings.Contains(actor, *query.Actor) }) {
			return false, err
		}
	}
	if query.EventTypes == nil && query.HasError == nil {
		return true, nil
	}
	kinds, err := b.names(kindsOf(id))
	if err != nil {
		return false, err
	}
	if query.EventTypes != nil &&
		!slices.ContainsFunc(kinds, func(kind string) bool { return slices.Contains(query.EventTypes, kind) }) {
		return false, nil
	}
	if query.HasError == nil {
		return true, nil
	}
	failed := found.Status == plugin.Failed || slices.Contains(kinds, "ActorFailed")
	if !failed {
		value, err := b.bucket.Get(append(errorsOf(id), '1'))
		if err != nil {
			return false, err
		}
		failed = value != nil
	}
	return failed == *query.HasError, nil
}
