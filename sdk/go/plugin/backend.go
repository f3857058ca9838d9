// Package plugin is what a storage plugin for reflow-tracing is written with: implement [Backend] and call [Export] in an
// init function.
//
//	func init() { plugin.Export(&Ledger{}) }
//	func main() {}
//
// The package takes three things off its users: the dropping of borrowed handles, the collection of garbage, which must not
// happen while the host writes into the plugin's memory, and the report of a panic.
package plugin

// Backend stores traces. What its functions owe the host is written in wit/deps/storage/backend.wit.
//
// The host opens several instances, which work on the same database at the same time, but calls one function of an instance
// at a time. Arguments may be kept after the call, except batches of events.
type Backend interface {
	// Open is called once for every instance, before anything else. The configuration is a JSON object, `{}` when there is none.
	Open(config string) (Info, error)
	// StoreTraces stores headers. Of several for one trace, the last one is stored.
	StoreTraces(traces []Trace) error
	// StoreEvents stores events, which may belong to several traces and may be stored already.
	StoreEvents(events *EventBatch) error
	// GetTraces returns the bodies of the headers in the order of the ids; nil where no header is stored.
	GetTraces(ids []UUID) ([][]byte, error)
	// QueryTraces returns the headers that match, a page at a time.
	QueryTraces(query *Query, page Page) (TracePage, error)
	// GetEvents returns the events of a trace by ascending (timestamp, event id), a page at a time.
	GetEvents(trace UUID, page Page) (EventPage, error)
	// DeleteTraces deletes traces with their events, and returns how many existed.
	DeleteTraces(ids []UUID) (uint64, error)
	// Stats says what the store holds.
	Stats() (Stats, error)
	// HealthCheck reaches everything that a write needs, and changes nothing.
	HealthCheck() error
}

// Maintainer is a Backend with work to do from time to time. The world in wit/world.wit must then contain
// `export reflow:storage/maintenance@0.1.1;`.
type Maintainer interface {
	// Maintain is called about once a minute. With more to do than fits into a call, continue at the next one.
	Maintain() error
}

// Expirer is a Backend that drops old traces faster than trace by trace, such as one with a table for each day. The world in wit/world.wit must then contain
// `export reflow:storage/expiry@0.1.1;`.
type Expirer interface {
	// DropOldest drops the oldest partition that holds traces, with their events, if every trace in it started before the time.
	// It returns how many traces it held; 0 when none is left. It is called until it returns 0.
	DropOldest(endedBy Timestamp) (uint64, error)
}

// Name is the plugin's name in plugin.toml, which `reflow-tracing plugin build` sets.
var Name = "plugin"

// exported is the backend of this instance.
var exported Backend

// Export makes the backend this plugin's. Call it in an init function: the host calls no main.
func Export(backend Backend) {
	if exported != nil {
		panic("plugin.Export was called twice")
	}
	exported = backend
}
