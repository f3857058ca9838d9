package plugin

import (
	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_types"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

func each[A, B any](items []A, convert func(A) B) []B {
	converted := make([]B, len(items))
	for i, item := range items {
		converted[i] = convert(item)
	}
	return converted
}

// pointer is nil for an absent value.
func pointer[A, B any](option witTypes.Option[A], convert func(A) B) *B {
	if option.IsNone() {
		return nil
	}
	value := convert(option.Some())
	return &value
}

func optional[A, B any](value *A, convert func(A) B) witTypes.Option[B] {
	if value == nil {
		return witTypes.None[B]()
	}
	return witTypes.Some(convert(*value))
}

func optionalBytes(bytes []byte) witTypes.Option[[]uint8] {
	if bytes == nil {
		return witTypes.None[[]uint8]()
	}
	return witTypes.Some(bytes)
}

// bytesOf keeps an empty value apart from an absent one, which is nil.
func bytesOf(option witTypes.Option[[]uint8]) []byte {
	if option.IsNone() {
		return nil
	}
	return append([]byte{}, option.Some()...)
}

func same[T any](value T) T { return value }

func uuidOf(id reflow_storage_types.Uuid) UUID      { return UUIDOf(id.High, id.Low) }
func timestampOf(time int64) Timestamp              { return Timestamp(time) }
func statusOf(status uint8) Status                  { return Status(status) }
func tagOf(tag witTypes.Tuple2[string, string]) Tag { return Tag{Name: tag.F0, Value: tag.F1} }

func traceOf(trace reflow_storage_types.Trace) Trace {
	return Trace{
		ID:          uuidOf(trace.TraceId),
		FlowID:      trace.FlowId,
		ExecutionID: uuidOf(trace.ExecutionId),
		Start:       Timestamp(trace.StartTime),
		End:         pointer(trace.EndTime, timestampOf),
		Status:      Status(trace.Status),
		Error:       pointer(trace.Error, same),
		Tags:        each(trace.Tags, tagOf),
		Body:        trace.Body,
	}
}

func queryOf(query reflow_storage_types.TraceQuery) *Query {
	converted := Query{
		FlowID:      pointer(query.FlowId, same),
		ExecutionID: pointer(query.ExecutionId, uuidOf),
		StartFrom:   pointer(query.StartFrom, timestampOf),
		StartTo:     pointer(query.StartTo, timestampOf),
		Status:      pointer(query.Status, statusOf),
		Error:       pointer(query.Error, same),
		Actor:       pointer(query.Actor, same),
		Tags:        each(query.Tags, tagOf),
		MinDuration: pointer(query.MinDuration, same),
		MaxDuration: pointer(query.MaxDuration, same),
		HasError:    pointer(query.HasError, same),
		Ascending:   query.Ascending,
		More:        each(query.More, tagOf),
	}
	if query.EventTypes.IsSome() {
		converted.EventTypes = append([]string{}, query.EventTypes.Some()...)
	}
	return &converted
}

func pageOf(page reflow_storage_types.PageRequest) Page {
	return Page{Limit: int(page.Limit), Offset: page.Offset, Token: bytesOf(page.Token)}
}
