package plugin

import (
	"errors"
	"fmt"
)

// Kind says what a host does with an error.
type Kind uint8

// The kinds of errors, with the numbers of the contract.
const (
	// KindInvalidArgument: the request or the configuration is invalid.
	KindInvalidArgument Kind = iota
	// KindNotFound: something that the request names does not exist.
	KindNotFound
	// KindConflict: a conflict with a concurrent write; the host may call again.
	KindConflict
	// KindUnavailable: the database can't be reached or is overloaded; the host may call again.
	KindUnavailable
	// KindExhausted: a limit of the store is reached: disk, quota, size.
	KindExhausted
	// KindUnsupported: the plugin does not do this.
	KindUnsupported
	// KindOther: everything else. The host may call again if it is retryable.
	KindOther
)

// Error is an error with a kind. Operators read the message: it names what failed, why, and what to do.
type Error struct {
	Kind    Kind
	Message string
	// Retryable counts for KindOther only.
	Retryable bool
}

func (e *Error) Error() string { return e.Message }

// InvalidArgument is an error with this kind; the arguments are those of fmt.Sprintf.
func InvalidArgument(format string, args ...any) error { return of(KindInvalidArgument, format, args) }

// NotFound is an error with this kind; the arguments are those of fmt.Sprintf.
func NotFound(format string, args ...any) error { return of(KindNotFound, format, args) }

// Conflict is an error with this kind; the arguments are those of fmt.Sprintf.
func Conflict(format string, args ...any) error { return of(KindConflict, format, args) }

// Unavailable is an error with this kind; the arguments are those of fmt.Sprintf.
func Unavailable(format string, args ...any) error { return of(KindUnavailable, format, args) }

// Exhausted is an error with this kind; the arguments are those of fmt.Sprintf.
func Exhausted(format string, args ...any) error { return of(KindExhausted, format, args) }

// Unsupported is an error with this kind; the arguments are those of fmt.Sprintf.
func Unsupported(format string, args ...any) error { return of(KindUnsupported, format, args) }

func of(kind Kind, format string, args []any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// AsError is what the host gets for an error: the kind of the first [Error] in its chain, KindOther when there is none,
// and the message of the whole chain.
func AsError(err error) Error {
	found := Error{Kind: KindOther}
	var inner *Error
	if errors.As(err, &inner) {
		found = *inner
	}
	found.Message = err.Error()
	return found
}
