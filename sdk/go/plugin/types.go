package plugin

import "time"

// Timestamp is a time in nanoseconds since 1970-01-01T00:00:00Z.
type Timestamp int64

// TimestampOf converts a time between the years 1678 and 2262.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixNano()) }

// Time is the same in UTC, without loss.
func (t Timestamp) Time() time.Time { return time.Unix(0, int64(t)).UTC() }

// Status is the status of an execution.
type Status uint8

// The statuses, with the numbers of the contract.
const (
	Pending Status = iota
	Running
	Completed
	Failed
	Cancelled
)

// String is the name in Reflow's model, for example `Completed`.
func (s Status) String() string {
	names := [...]string{"Pending", "Running", "Completed", "Failed", "Cancelled"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Tag is a label of a trace.
type Tag struct{ Name, Value string }

// Info is the plugin's name, version and features.
type Info struct {
	Name, Version string
	Features      []string
}

// Trace is the header of a trace, without its events.
type Trace struct {
	ID          UUID
	FlowID      string
	ExecutionID UUID
	Start       Timestamp
	// End is nil while the execution runs.
	End    *Timestamp
	Status Status
	// Error is the message of a failed execution.
	Error *string
	Tags  []Tag
	// Body is the complete header, to be stored and returned unchanged.
	Body []byte
}

// Query is a query for traces. All predicates that are not nil must hold.
type Query struct {
	FlowID      *string
	ExecutionID *UUID
	// StartFrom and StartTo are bounds on the start time, both included.
	StartFrom, StartTo *Timestamp
	Status             *Status
	// Error is, with the status Failed, the exact message.
	Error *string
	// Actor is a substring of the actor id of at least one event.
	Actor *string
	// EventTypes: the trace has an event of at least one of these kinds. An empty list, which is not nil, matches nothing.
	EventTypes []string
	// Tags: the trace carries all of these.
	Tags []Tag
	// MinDuration and MaxDuration bound the duration of an ended trace, in nanoseconds.
	MinDuration, MaxDuration *int64
	// HasError: the trace failed, or has an event of the kind `ActorFailed` or with an error. False: none of these.
	HasError *bool
	// Ascending asks for the earliest start first. Equal starts come by ascending trace id either way.
	Ascending bool
	// More are predicates of later hosts. A backend that does not know one answers [Unsupported].
	More []Tag
}

// Page is a request for a page.
type Page struct {
	// Limit is the maximum of items, at least 1.
	Limit int
	// Offset is the number of items to skip, counted from the token when there is one.
	Offset uint64
	// Token is the `Next` of the previous page; nil for the first page.
	Token []byte
}

// TracePage is a page of traces, as the bodies of their headers.
type TracePage struct {
	Bodies [][]byte
	// Next is the token of the next page; nil on the last page.
	Next []byte
}

// EventPage is a page of the events of a trace.
type EventPage struct {
	Events *EventBatch
	// Next is the token of the next page; nil on the last page.
	Next []byte
}

// Stats is what a store holds.
type Stats struct {
	// Traces with a header, and events, those without a header included.
	Traces, Events uint64
	// Bytes is the size of the store, if it is known.
	Bytes *uint64
	// Oldest and Newest are the earliest and the latest start of a trace.
	Oldest, Newest *Timestamp
}
