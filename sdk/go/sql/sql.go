// Package sql is SQL databases that the operator has granted, by label.
//
// Statements use the placeholders of the database's own dialect: `?` for SQLite and MySQL, `$1` for PostgreSQL. A statement is prepared
// once and kept by its text, so pass values as parameters. A parameter is nil, a bool, an int, an int64, a float64, a string, bytes, a
// [plugin.Timestamp], a [plugin.Status] (its name), a [plugin.UUID] (its 16 bytes), or a pointer to one of these, where nil is NULL.
package sql

import (
	"iter"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_sql"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// fetch is how many rows a call gets: a compromise between the number of calls and the memory.
const fetch = 1000

// runner is what the bindings of a connection and of a transaction have in common.
type runner interface {
	Execute(string, []bindings.Value) witTypes.Result[uint64, bindings.SqlError]
	ExecuteMany(string, [][]bindings.Value) witTypes.Result[uint64, bindings.SqlError]
	InsertBatch(string, []bindings.Binding, *bindings.EventBatch) witTypes.Result[uint64, bindings.SqlError]
	Query(string, []bindings.Value) witTypes.Result[*bindings.Cursor, bindings.SqlError]
	QueryEvents(string, []bindings.Value, uint32) witTypes.Result[*bindings.EventBatch, bindings.SqlError]
}

// Statements is what runs statements: a [Connection] or a [Transaction]. Errors of the host are of the type [Error].
type Statements struct{ raw runner }

// Connection is a database. Each call may run on another connection: settings, temporary tables and locks are gone after the call, or
// after the transaction.
type Connection struct {
	Statements
	raw *bindings.Connection
}

// Transaction is statements that take effect together: see [Connection.Transact].
type Transaction struct{ Statements }

// Open opens the database that the operator granted under the label.
func Open(label string) (*Connection, error) {
	raw, err := answer(bindings.ConnectionOpen(label))
	return &Connection{Statements{raw}, raw}, err
}

// Dialect is `sqlite`, `postgresql` or `mysql`, which is MariaDB's too; later hosts may add others.
func (c *Connection) Dialect() string {
	defer memory.Release()
	return c.raw.Dialect()
}

// Transact runs a function in a transaction, which takes a connection until it ends. It is committed, or rolled back when the function
// returns an error. After an error PostgreSQL accepts nothing else in it.
func (c *Connection) Transact(function func(*Transaction) error) error {
	raw, err := answer(c.raw.Begin())
	if err != nil {
		return err
	}
	// What is dropped without a commit is rolled back.
	defer raw.Drop()
	if err := function(&Transaction{Statements{raw}}); err != nil {
		return err
	}
	_, err = answer(bindings.TransactionCommit(raw))
	return err
}

// Execute runs a statement; several, separated by semicolons, when there are no parameters. It returns how many rows the last one changed.
func (s Statements) Execute(statement string, parameters ...any) (uint64, error) {
	values, err := encoded(parameters)
	if err != nil {
		return 0, err
	}
	return answer(s.raw.Execute(statement, values))
}

// ExecuteMany runs a statement once a row of parameters: all or none. It returns how many rows changed in all. Three dots after a group of
// parameters, as in `VALUES (?, ?), ...`, let the group stand for as many rows as there are.
func (s Statements) ExecuteMany(statement string, rows [][]any) (uint64, error) {
	values := make([][]bindings.Value, len(rows))
	for i, row := range rows {
		var err error
		if values[i], err = encoded(row); err != nil {
			return 0, err
		}
	}
	return answer(s.raw.ExecuteMany(statement, values))
}

// InsertBatch runs a statement once an event of the batch: all or none. The events never enter the plugin.
func (s Statements) InsertBatch(statement string, parameters []Binding, events *plugin.EventBatch) (uint64, error) {
	return answer(s.raw.InsertBatch(statement, parameters, events.Raw()))
}

// Query is the rows of an answer, fetched as they are needed. It ends after an error. The loop over it takes a connection, or the
// transaction that it is in.
func (s Statements) Query(statement string, parameters ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		cursor, err := s.cursor(statement, parameters)
		if err != nil {
			yield(nil, err)
			return
		}
		defer cursor.Drop()
		for {
			rows, err := answer(cursor.Next(fetch))
			if err != nil {
				yield(nil, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

func (s Statements) cursor(statement string, parameters []any) (*bindings.Cursor, error) {
	values, err := encoded(parameters)
	if err != nil {
		return nil, err
	}
	return answer(s.raw.Query(statement, values))
}

// QueryRow is the first row of an answer; nil when there is none.
func (s Statements) QueryRow(statement string, parameters ...any) (Row, error) {
	for row, err := range s.Query(statement, parameters...) {
		return row, err
	}
	return nil, nil
}

// QueryEvents runs a query whose column number `body`, from 0, holds bodies of events, which never enter the plugin.
func (s Statements) QueryEvents(body int, statement string, parameters ...any) (*plugin.EventBatch, error) {
	values, err := encoded(parameters)
	if err != nil {
		return nil, err
	}
	events, err := answer(s.raw.QueryEvents(statement, values, uint32(body)))
	if err != nil {
		return nil, err
	}
	return plugin.WrapEventBatch(events), nil
}

// answer is what a function of the host returned, in Go's way.
func answer[T any](result witTypes.Result[T, bindings.SqlError]) (value T, err error) {
	memory.Release()
	if result.IsErr() {
		return value, errorOf(result.Err())
	}
	return result.Ok(), nil
}
