package keyvalue

import (
	"fmt"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_keyvalue"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// Kind is the kind of an [Error].
type Kind uint8

// The kinds of errors, with the numbers of the contract.
const (
	NoSuchLabel Kind = iota
	InvalidArgument
	AccessDenied
	Timeout
	Unavailable
	LimitExceeded
	Other
)

// Error is an error of a bucket. Returned to the host, it is the error of the kind that fits.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap is the error that the host gets.
func (e *Error) Unwrap() error {
	switch e.Kind {
	case NoSuchLabel, InvalidArgument, AccessDenied:
		return &plugin.Error{Kind: plugin.KindInvalidArgument, Message: e.Message}
	case Timeout, Unavailable:
		return &plugin.Error{Kind: plugin.KindUnavailable, Message: e.Message}
	case LimitExceeded:
		return &plugin.Error{Kind: plugin.KindExhausted, Message: e.Message}
	default:
		return &plugin.Error{Kind: plugin.KindOther, Message: e.Message}
	}
}

func errorOf(raw bindings.KeyvalueError) *Error {
	err := &Error{Kind: Kind(raw.Tag())}
	switch err.Kind {
	case NoSuchLabel:
		label := raw.NoSuchLabel()
		err.Message = fmt.Sprintf(
			"no bucket is granted under the label `%s`: add grants = { keyvalue = { %s = \"...\" } }", label, label)
	case InvalidArgument:
		err.Message = raw.InvalidArgument()
	case AccessDenied:
		err.Message = raw.AccessDenied()
	case Timeout:
		err.Message = "the bucket did not answer in time"
	case Unavailable:
		err.Message = raw.Unavailable()
	case LimitExceeded:
		err.Message = raw.LimitExceeded()
	default:
		err.Message = raw.Other()
	}
	return err
}
