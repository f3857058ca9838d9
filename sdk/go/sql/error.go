package sql

import (
	"fmt"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_sql"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// Kind is the kind of an [Error].
type Kind uint8

// The kinds of errors, with the numbers of the contract.
const (
	NoSuchLabel Kind = iota
	AccessDenied
	PoolExhausted
	Timeout
	ConnectionLost
	LimitExceeded
	// Database: the database refused; see Code and Retryable.
	Database
	Conversion
	Other
)

// Error is an error of a database. Returned to the host, it is the error of the kind that fits.
type Error struct {
	Kind    Kind
	Message string
	// Code is the SQLSTATE, or the database's own code where it has none, of an error of the kind [Database].
	Code string
	// Retryable says whether the same call may succeed later: a lock, a deadlock, a serialization failure.
	Retryable bool
}

func (e *Error) Error() string { return e.Message }

// Unwrap is the error that the host gets.
func (e *Error) Unwrap() error {
	switch e.Kind {
	case NoSuchLabel, AccessDenied:
		return plugin.InvalidArgument("%s", e.Message)
	case PoolExhausted, Timeout, ConnectionLost:
		return plugin.Unavailable("%s", e.Message)
	case LimitExceeded:
		return plugin.Exhausted("%s", e.Message)
	default:
		return &plugin.Error{Kind: plugin.KindOther, Message: e.Message, Retryable: e.Retryable}
	}
}

func errorOf(raw bindings.SqlError) *Error {
	err := &Error{Kind: Kind(raw.Tag())}
	switch err.Kind {
	case NoSuchLabel:
		label := raw.NoSuchLabel()
		err.Message = fmt.Sprintf(
			"no database is granted under the label `%s`: add grants = { sql = { %s = \"...\" } }", label, label)
	case AccessDenied:
		err.Message = raw.AccessDenied()
	case PoolExhausted:
		err.Message = "too many connections to the database are in use"
	case Timeout:
		err.Message = "the database did not answer in time"
	case ConnectionLost:
		err.Message = raw.ConnectionLost()
	case LimitExceeded:
		err.Message = raw.LimitExceeded()
	case Database:
		found := raw.Database()
		err.Code, err.Retryable = found.Code, found.Retryable
		err.Message = fmt.Sprintf("%s (%s)", found.Message, found.Code)
	case Conversion:
		err.Message = raw.Conversion()
	default:
		err.Message = raw.Other()
	}
	return err
}
