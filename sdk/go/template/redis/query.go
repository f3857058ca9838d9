package main

import (
	"slices"
	"strings"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
	"github.com/offbit-ai/reflow/sdk/go/redis"
)

// chunk is how many traces a query reads at a time.
const chunk = 100

// QueryTraces walks the traces by start time, reads the headers in chunks, and the names of the events only where the query asks. The
// token is the place of the last trace.
func (b *backend) QueryTraces(query *plugin.Query, page plugin.Page) (answer plugin.TracePage, err error) {
	if len(query.More) > 0 {
		return answer, plugin.Unsupported("the predicate `%s`", query.More[0].Name)
	}
	if page.Token != nil && len(page.Token) != 24 {
		return answer, plugin.InvalidArgument("the page token is not one of this plugin's")
	}
	skip := page.Offset
	var last []byte
	err = b.matching(query, page.Token, func(place []byte, found *header) bool {
		if skip > 0 {
			skip--
			return true
		}
		if len(answer.Bodies) == page.Limit {
			answer.Next = last
			return false
		}
		answer.Bodies = append(answer.Bodies, found.Body)
		last = place
		return true
	})
	return answer, err
}

// firstStart is the start of the first trace of the order that the query asks for.
func (b *backend) firstStart(query *plugin.Query) (start *plugin.Timestamp, err error) {
	err = b.matching(query, nil, func(_ []byte, found *header) bool {
		start = &found.Start
		return false
	})
	return start, err
}

// matching calls yield with each trace that matches and comes after the place, in the order of the query, until it returns false.
func (b *backend) matching(query *plugin.Query, place []byte, yield func([]byte, *header) bool) error {
	first, last := bounds(query)
	// A token of another query may lie outside the bounds.
	if place != nil && string(place) >= string(first[1:]) {
		first = after(place)
	}
	order := latest
	if query.Ascending {
		order = earliest
	}
	for {
		reply, err := b.server.Do("ZRANGEBYLEX", order, first, last, "LIMIT", 0, chunk)
		if err != nil {
			return err
		}
		places := reply.Elements()
		ids := make([]plugin.UUID, len(places))
		starts := make([]plugin.Timestamp, len(places))
		for i, place := range places {
			starts[i], ids[i] = parseStartPlace(place.Bytes(), query.Ascending)
		}
		found, err := b.headers(ids)
		if err != nil {
			return err
		}
		for i, header := range found {
			// A place that a concurrent writer or a deletion left behind belongs to no header.
			if header == nil || header.Start != starts[i] || !header.matches(query) {
				found[i] = nil
			}
		}
		if err := b.filterByEvents(query, ids, found); err != nil {
			return err
		}
		for i, header := range found {
			if header != nil && !yield(places[i].Bytes(), header) {
				return nil
			}
		}
		if len(places) < chunk {
			return nil
		}
		first = after(places[len(places)-1].Bytes())
	}
}

// filterByEvents sets those headers to nil whose traces have not the events that the query asks for.
func (b *backend) filterByEvents(query *plugin.Query, ids []plugin.UUID, found []*header) error {
	if query.Actor == nil && query.EventTypes == nil && query.HasError == nil {
		return nil
	}
	var commands []redis.Command
	for i, id := range ids {
		if found[i] != nil {
			commands = append(commands, redis.Cmd("SMEMBERS", namesOf(id)))
		}
	}
	if len(commands) == 0 {
		return nil
	}
	replies, err := b.server.Pipeline(commands...)
	if err != nil {
		return err
	}
	if err := redis.FirstError(replies); err != nil {
		return err
	}
	for i, header := range found {
		if header == nil {
			continue
		}
		if !matchesEvents(query, header, replies[0].Elements()) {
			found[i] = nil
		}
		replies = replies[1:]
	}
	return nil
}

// matchesEvents says whether the names of a trace's events match.
func matchesEvents(query *plugin.Query, header *header, names []redis.Reply) bool {
	failed := header.Status == plugin.Failed
	hasActor, hasKind := query.Actor == nil, query.EventTypes == nil
	for _, reply := range names {
		letter, name := reply.Bytes()[0], string(reply.Bytes()[1:])
		switch letter {
		case 'a':
			hasActor = hasActor || strings.Contains(name, *query.Actor)
		case 'k':
			hasKind = hasKind || slices.Contains(query.EventTypes, name)
			failed = failed || name == "ActorFailed"
		case 'x':
			failed = failed || name == "1"
		}
	}
	return hasActor && hasKind && (query.HasError == nil || *query.HasError == failed)
}
