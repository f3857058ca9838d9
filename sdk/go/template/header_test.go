package main

import (
	"math"
	"reflect"
	"testing"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestAHeaderComesBackAsItWasStored(t *testing.T) {
	end, message := plugin.Timestamp(math.MaxInt64), "no \x00 disk\u2028"
	trace := plugin.Trace{
		FlowID: "flow <&>", ExecutionID: plugin.UUIDOf(1, math.MaxUint64), Start: math.MinInt64, End: &end,
		Status: plugin.Failed, Error: &message, Tags: []plugin.Tag{{Name: "a", Value: ""}}, Body: []byte{0, 255},
	}
	found, err := decodeHeader(encodeHeader(trace))
	if err != nil {
		t.Fatal(err)
	}
	expected := &header{trace.FlowID, trace.ExecutionID, trace.Start, &end, trace.Status, &message, trace.Tags, trace.Body}
	if !reflect.DeepEqual(found, expected) {
		t.Errorf("%+v came back as %+v", expected, found)
	}
	for _, damaged := range [][]byte{nil, {0, 0, 0, 9, 1}, {0, 0, 0, 1, '{'}} {
		if _, err := decodeHeader(damaged); err == nil {
			t.Errorf("%v was accepted", damaged)
		}
	}
}

func TestADurationThatOverflowsIsTheLongest(t *testing.T) {
	if found := duration(math.MinInt64, math.MaxInt64); found != math.MaxInt64 {
		t.Error(found)
	}
	if found := duration(math.MaxInt64, math.MinInt64); found != math.MinInt64 {
		t.Error(found)
	}
	if found := duration(5, 2); found != -3 {
		t.Error(found)
	}
}
