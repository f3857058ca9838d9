package plugin

import (
	"errors"

	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_batch"
	"github.com/offbit-ai/reflow/sdk/go/internal/columns"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
)

// EventBatch is a handle of a batch of events, whose rows stay in the host. The cheapest use of one is to pass it on, to
// keyvalue's InsertBatch for instance. A batch that StoreEvents gets is valid until it returns.
type EventBatch struct {
	raw *reflow_storage_batch.EventBatch
}

// NewEventBatch is an empty batch, to be filled for an answer.
func NewEventBatch() *EventBatch { return &EventBatch{reflow_storage_batch.MakeEventBatch()} }

// WrapEventBatch is a batch that a capability returned.
func WrapEventBatch(raw *reflow_storage_batch.EventBatch) *EventBatch { return &EventBatch{raw} }

// Raw is the handle, for functions of the bindings.
func (b *EventBatch) Raw() *reflow_storage_batch.EventBatch { return b.raw }

// Drop gives the batch back early. The batches that the host passes, and those in an answer, are dropped by themselves.
func (b *EventBatch) Drop() { b.raw.Drop() }

// Len is the number of events.
func (b *EventBatch) Len() int { return int(b.raw.Len()) }

// Event is an event as a record: convenient, but columns are several times cheaper.
type Event struct {
	TraceID, ID   UUID
	Timestamp     Timestamp
	Type, ActorID string
	Error         *string
	Body          []byte
}

// Events are the events from offset on, at most limit.
func (b *EventBatch) Events(offset, limit int) []Event {
	defer memory.Release()
	raw := b.raw.Events(uint32(offset), uint32(limit))
	events := make([]Event, len(raw))
	for i, event := range raw {
		events[i] = Event{
			TraceID:   UUIDOf(event.TraceId.High, event.TraceId.Low),
			ID:        UUIDOf(event.EventId.High, event.EventId.Low),
			Timestamp: Timestamp(event.Timestamp),
			Type:      event.EventType,
			ActorID:   event.ActorId,
			Body:      event.Body,
		}
		if event.Error.IsSome() {
			text := event.Error.Some()
			events[i].Error = &text
		}
	}
	return events
}

// Texts is the column of a field with texts. An absent value is empty; [EventBatch.Present] tells them apart.
func (b *EventBatch) Texts(field string) ([]string, error) {
	column, err := b.column(field, reflow_storage_batch.ColumnTexts)
	if err != nil {
		return nil, err
	}
	return columns.SplitTexts(column.Texts()), nil
}

// Blobs is the column of a field with bytes.
func (b *EventBatch) Blobs(field string) ([][]byte, error) {
	column, err := b.column(field, reflow_storage_batch.ColumnBlobs)
	if err != nil {
		return nil, err
	}
	return columns.SplitBlobs(column.Blobs()), nil
}

// Integers is the column of a field with integers, such as `timestamp`. An absent value is 0.
func (b *EventBatch) Integers(field string) ([]int64, error) {
	column, err := b.column(field, reflow_storage_batch.ColumnIntegers)
	if err != nil {
		return nil, err
	}
	return column.Integers(), nil
}

// UUIDs is the column of a field with UUIDs. An absent value is zero.
func (b *EventBatch) UUIDs(field string) ([]UUID, error) {
	column, err := b.column(field, reflow_storage_batch.ColumnUuids)
	if err != nil {
		return nil, err
	}
	halves := column.Uuids()
	values := make([]UUID, len(halves)/2)
	for i := range values {
		values[i] = UUIDOf(halves[2*i], halves[2*i+1])
	}
	return values, nil
}

// Present says which events have a value in the field.
func (b *EventBatch) Present(field string) ([]bool, error) {
	defer memory.Release()
	result := b.raw.Present(field)
	if result.IsErr() {
		return nil, errors.New(result.Err())
	}
	return result.Ok(), nil
}

// Push appends events by their bodies. It fails on an invalid body, and then adds nothing.
func (b *EventBatch) Push(bodies [][]byte) error {
	defer memory.Release()
	if result := b.raw.Push(columns.JoinBlobs(bodies)); result.IsErr() {
		return errors.New(result.Err())
	}
	return nil
}

func (b *EventBatch) column(field string, tag uint8) (column reflow_storage_batch.Column, err error) {
	defer memory.Release()
	result := b.raw.Columns([]string{field})
	if result.IsErr() {
		return column, errors.New(result.Err())
	}
	column = result.Ok()[0]
	if column.Tag() != tag {
		return column, errors.New("the field `" + field + "` has values of another type; see wit/deps/storage/batch.wit")
	}
	return column, nil
}
