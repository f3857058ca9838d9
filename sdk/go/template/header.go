package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// header is a stored header: the fields to search by as JSON, and the body behind it.
type header struct {
	FlowID      string
	ExecutionID plugin.UUID
	Start       plugin.Timestamp
	End         *plugin.Timestamp
	Status      plugin.Status
	Error       *string
	Tags        []plugin.Tag
	Body        []byte `json:"-"`
}

func encodeHeader(trace plugin.Trace) []byte {
	fields, err := json.Marshal(header{
		FlowID: trace.FlowID, ExecutionID: trace.ExecutionID, Start: trace.Start, End: trace.End,
		Status: trace.Status, Error: trace.Error, Tags: trace.Tags,
	})
	if err != nil {
		panic(err) // Such a struct always has a JSON form.
	}
	value := binary.BigEndian.AppendUint32(nil, uint32(len(fields)))
	return append(append(value, fields...), trace.Body...)
}

func decodeHeader(value []byte) (*header, error) {
	var decoded header
	if len(value) < 4 || uint32(len(value)-4) < binary.BigEndian.Uint32(value) {
		return nil, &plugin.Error{Kind: plugin.KindOther, Message: "a stored header is damaged"}
	}
	end := 4 + binary.BigEndian.Uint32(value)
	if err := json.Unmarshal(value[4:end], &decoded); err != nil {
		return nil, err
	}
	decoded.Body = value[end:]
	return &decoded, nil
}

// matches says whether the header matches the predicates on headers.
func (h *header) matches(query *plugin.Query) bool {
	if query.FlowID != nil && *query.FlowID != h.FlowID ||
		query.ExecutionID != nil && *query.ExecutionID != h.ExecutionID ||
		query.Status != nil && *query.Status != h.Status ||
		query.Error != nil && (h.Error == nil || *query.Error != *h.Error) {
		return false
	}
	for _, tag := range query.Tags {
		if !slices.Contains(h.Tags, tag) {
			return false
		}
	}
	if query.MinDuration == nil && query.MaxDuration == nil {
		return true
	}
	if h.End == nil {
		return false
	}
	took := duration(h.Start, *h.End)
	return (query.MinDuration == nil || took >= *query.MinDuration) && (query.MaxDuration == nil || took <= *query.MaxDuration)
}

// duration is the end minus the start, and the nearest number where that overflows.
func duration(start, end plugin.Timestamp) int64 {
	took := int64(end) - int64(start)
	switch {
	case end > 0 && start < 0 && took < 0:
		return math.MaxInt64
	case end < 0 && start > 0 && took > 0:
		return math.MinInt64
	}
	return took
}
