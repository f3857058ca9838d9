package main

import (
	"strings"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

const (
	hasEvent = "EXISTS (SELECT 1 FROM event e WHERE e.trace_id = trace.trace_id AND "
	hasTag   = "EXISTS (SELECT 1 FROM tag t WHERE t.trace_id = trace.trace_id AND name = ? AND value = ?)"
	failed   = "(status = 'Failed' OR " + hasEvent + "(e.kind = 'ActorFailed' OR e.error IS NOT NULL)))"
)

// conditions is what all must hold, with their parameters.
type conditions struct {
	texts      []string
	parameters []any
}

func (c *conditions) add(text string, parameters ...any) {
	c.texts = append(c.texts, text)
	c.parameters = append(c.parameters, parameters...)
}

// addIf adds a condition for a predicate that is present.
func addIf[T any](c *conditions, text string, value *T) {
	if value != nil {
		c.add(text, *value)
	}
}

// selection is the statement for a page, with its parameters: start time, id and body of the traces on it, and of one more.
func selection(query *plugin.Query, page plugin.Page) (statement string, parameters []any, err error) {
	// A later host may send a predicate that this plugin does not know. Ignoring it would give a wrong answer.
	if len(query.More) > 0 {
		return "", nil, plugin.Unsupported("the predicate `%s`", query.More[0].Name)
	}
	var all conditions
	all.add("true")
	addIf(&all, "flow_id = ?", query.FlowID)
	addIf(&all, "execution_id = ?", query.ExecutionID)
	addIf(&all, "start_time >= ?", query.StartFrom)
	addIf(&all, "start_time <= ?", query.StartTo)
	addIf(&all, "status = ?", query.Status)
	addIf(&all, "trace.error = ?", query.Error)
	addIf(&all, hasEvent+"instr(e.actor, ?) > 0)", query.Actor)
	addIf(&all, "end_time - start_time >= ?", query.MinDuration)
	addIf(&all, "end_time - start_time <= ?", query.MaxDuration)
	if query.EventTypes != nil {
		var kinds []any
		for _, kind := range query.EventTypes {
			kinds = append(kinds, kind)
		}
		places := strings.TrimSuffix(strings.Repeat("?, ", len(kinds)), ", ")
		all.add(hasEvent+"e.kind IN ("+places+"))", kinds...)
	}
	for _, tag := range query.Tags {
		all.add(hasTag, tag.Name, tag.Value)
	}
	if query.HasError != nil && *query.HasError {
		all.add(failed)
	} else if query.HasError != nil {
		all.add("NOT " + failed)
	}

	// Equal starts are ordered by ascending id in both directions.
	beyond, direction := "<", "DESC"
	if query.Ascending {
		beyond, direction = ">", "ASC"
	}
	if page.Token != nil {
		after, err := parseToken(page.Token)
		if err != nil {
			return "", nil, err
		}
		all.add("(start_time "+beyond+" ? OR (start_time = ? AND trace_id > ?))", after.time, after.time, after.id)
	}
	statement = "SELECT start_time, trace_id, body FROM trace WHERE " + strings.Join(all.texts, " AND ") +
		" ORDER BY start_time " + direction + ", trace_id LIMIT ? OFFSET ?"
	return statement, append(all.parameters, page.Limit+1, bounded(page.Offset)), nil
}

// position is the time and the id of the last item of a page. Any instance can continue from it, and concurrent writes and deletions do
// not shift the next page.
type position struct {
	time plugin.Timestamp
	id   plugin.UUID
}

func (p position) token() []byte { return plugin.Key(plugin.Sort(int64(p.time)), p.id[:]) }

// parseToken reads a token. Tokens come from clients, so they may be invalid.
func parseToken(token []byte) (position, error) {
	if len(token) != 24 {
		return position{}, plugin.InvalidArgument("the page token is not one of this plugin's")
	}
	return position{plugin.Timestamp(plugin.Unsort(token[:8])), plugin.UUID(token[8:])}, nil
}
