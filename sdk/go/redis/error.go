package redis

import (
	"fmt"
	"strings"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_redis"
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
	// Server: the server refused. The message starts with its code, for example OOM or READONLY.
	Server
	Other
)

// Error is an error of a server. Returned to the host, it is the error of the kind that fits.
type Error struct {
	Kind    Kind
	Message string
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
	case Server:
		return serverError(e.Message)
	default:
		return &plugin.Error{Kind: plugin.KindOther, Message: e.Message}
	}
}

// serverError has the kind that the server's code says.
func serverError(message string) error {
	code, _, _ := strings.Cut(message, " ")
	switch code {
	case "OOM":
		return plugin.Exhausted("%s", message)
	// Starting, failing over, moving keys, running a script, unable to save, too few replicas.
	case "LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY", "MISCONF", "NOREPLICAS":
		return plugin.Unavailable("%s", message)
	}
	return &plugin.Error{Kind: plugin.KindOther, Message: message}
}

func errorOf(raw bindings.RedisError) *Error {
	err := &Error{Kind: Kind(raw.Tag())}
	switch err.Kind {
	case NoSuchLabel:
		label := raw.NoSuchLabel()
		err.Message = fmt.Sprintf(
			"no server is granted under the label `%s`: add grants = { redis = { %s = \"redis://...\" } }", label, label)
	case AccessDenied:
		err.Message = raw.AccessDenied()
	case PoolExhausted:
		err.Message = "too many connections to the server are in use"
	case Timeout:
		err.Message = "the server did not answer in time"
	case ConnectionLost:
		err.Message = raw.ConnectionLost()
	case LimitExceeded:
		err.Message = raw.LimitExceeded()
	case Server:
		err.Message = raw.Server()
	default:
		err.Message = raw.Other()
	}
	return err
}
