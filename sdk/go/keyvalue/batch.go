package keyvalue

import bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_keyvalue"

// EventEntry is an entry for each event of a batch: the parts of its key and of its value, which are joined.
type EventEntry = bindings.EventEntry

// Part is a piece of a key or of a value.
type Part = bindings.Part

// Fixed is bytes as they are.
func Fixed(text string) Part { return bindings.MakePartFixed([]byte(text)) }

// Field is a field of the event as text, by the name that wit/deps/storage/batch.wit lists; `body` is its bytes.
func Field(name string) Part { return bindings.MakePartField(name) }

// Sortable is a field of the event in bytes that sort like the value, as [Sort] and [plugin.UUID] write them.
func Sortable(name string) Part { return bindings.MakePartSortable(name) }

// Present is `1` when the event has a value in this field, `0` when it is absent.
func Present(name string) Part { return bindings.MakePartPresent(name) }
