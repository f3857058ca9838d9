// A backend of reflow-tracing over a SQLite database. Several instances may work on the database at a time.
package main

import (
	_ "embed"
	"math"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
	"github.com/offbit-ai/reflow/sdk/go/sql"
)

//go:embed schema.sql
var schema string

func init() { plugin.Export(&backend{}) }

func main() {}

type backend struct{ database *sql.Connection }

// Open opens the database that the operator granted: grants = { sql = { default = "sqlite:traces.db" } }.
func (b *backend) Open(config string) (info plugin.Info, err error) {
	if config != "{}" {
		return info, plugin.InvalidArgument("this plugin has no settings, but was given %s", config)
	}
	if b.database, err = sql.Open("default"); err != nil {
		return info, err
	}
	if dialect := b.database.Dialect(); dialect != "sqlite" {
		return info, plugin.Unsupported("the dialect %s: this plugin stores in SQLite only", dialect)
	}
	// Several instances may do this at once.
	_, err = b.database.Execute(schema)
	return plugin.Info{Name: plugin.Name, Version: "0.1.0"}, err
}

// StoreTraces replaces headers in one transaction. The events stay.
func (b *backend) StoreTraces(traces []plugin.Trace) error {
	return b.database.Transact(func(tx *sql.Transaction) error {
		for _, trace := range traces {
			var tags [][]any
			for _, tag := range trace.Tags {
				tags = append(tags, []any{trace.ID, tag.Name, tag.Value})
			}
			if _, err := tx.Execute("DELETE FROM tag WHERE trace_id = ?", trace.ID); err != nil {
				return err
			}
			if _, err := tx.ExecuteMany("INSERT INTO tag VALUES (?, ?, ?)", tags); err != nil {
				return err
			}
			_, err := tx.Execute("INSERT OR REPLACE INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
				trace.ID, trace.FlowID, trace.ExecutionID, trace.Start, trace.End, trace.Status, trace.Error, trace.Body)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// StoreEvents lets the host bind the fields of each event to the statement: no event enters the plugin. Storing one again changes nothing.
func (b *backend) StoreEvents(events *plugin.EventBatch) error {
	fields := sql.Fields("trace-id", "timestamp", "event-id", "event-type", "actor-id", "error", "body")
	_, err := b.database.InsertBatch("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", fields, events)
	return err
}

func (b *backend) GetTraces(ids []plugin.UUID) ([][]byte, error) {
	bodies := make([][]byte, len(ids))
	for i, id := range ids {
		for row, err := range b.database.Query("SELECT body FROM trace WHERE trace_id = ?", id) {
			if err == nil {
				err = row.Scan(&bodies[i])
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return bodies, nil
}

// QueryTraces selects one row more than asked for, which shows whether there is a next page.
func (b *backend) QueryTraces(query *plugin.Query, page plugin.Page) (answer plugin.TracePage, err error) {
	statement, parameters, err := selection(query, page)
	if err != nil {
		return answer, err
	}
	var last position
	for row, err := range b.database.Query(statement, parameters...) {
		if err != nil {
			return answer, err
		}
		if len(answer.Bodies) == page.Limit {
			answer.Next = last.token()
			break
		}
		var body []byte
		if err := row.Scan(&last.time, &last.id, &body); err != nil {
			return answer, err
		}
		answer.Bodies = append(answer.Bodies, body)
	}
	return answer, nil
}

// GetEvents lets the host fill the answer from a column.
func (b *backend) GetEvents(trace plugin.UUID, page plugin.Page) (answer plugin.EventPage, err error) {
	// The earliest time comes before every event.
	condition, parameters := "", []any{trace}
	if page.Token != nil {
		after, err := parseToken(page.Token)
		if err != nil {
			return answer, err
		}
		condition, parameters = " AND (timestamp, event_id) > (?, ?)", append(parameters, after.time, after.id)
	}
	answer.Events, err = b.database.QueryEvents(0, "SELECT body FROM event WHERE trace_id = ?"+condition+
		" ORDER BY timestamp, event_id LIMIT ? OFFSET ?", append(parameters, page.Limit, bounded(page.Offset))...)
	if err != nil || answer.Events.Len() < page.Limit {
		return answer, err
	}
	last := answer.Events.Events(page.Limit-1, 1)[0]
	answer.Next = position{last.Timestamp, last.ID}.token()
	return answer, nil
}

func (b *backend) DeleteTraces(ids []plugin.UUID) (deleted uint64, err error) {
	err = b.database.Transact(func(tx *sql.Transaction) error {
		for _, id := range ids {
			found := uint64(0)
			for _, table := range []string{"trace", "event", "tag"} {
				rows, err := tx.Execute("DELETE FROM "+table+" WHERE trace_id = ?", id)
				if err != nil {
					return err
				}
				found += rows
			}
			deleted += min(found, 1)
		}
		return nil
	})
	return deleted, err
}

func (b *backend) Stats() (stats plugin.Stats, err error) {
	row, err := b.database.QueryRow(
		"SELECT count(*), (SELECT count(*) FROM event), min(start_time), max(start_time) FROM trace")
	if err != nil {
		return stats, err
	}
	err = row.Scan(&stats.Traces, &stats.Events, &stats.Oldest, &stats.Newest)
	return stats, err
}

// HealthCheck takes the lock that a write needs, and releases it.
func (b *backend) HealthCheck() error {
	return b.database.Transact(func(tx *sql.Transaction) error {
		_, err := tx.QueryRow("SELECT 1 FROM trace LIMIT 1")
		return err
	})
}

// bounded is an offset as the database takes it.
func bounded(offset uint64) int64 { return int64(min(offset, math.MaxInt64)) }
