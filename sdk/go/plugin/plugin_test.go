package plugin

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

func TestAUUIDKeepsItsBytesHalvesAndText(t *testing.T) {
	id, err := ParseUUID("00112233-4455-6677-8899-aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	if high, low := id.Halves(); high != 0x0011223344556677 || low != 0x8899aabbccddeeff || UUIDOf(high, low) != id {
		t.Errorf("halves %x %x", high, low)
	}
	if id.String() != "00112233-4455-6677-8899-aabbccddeeff" {
		t.Error(id)
	}
	for _, text := range []string{"", "00112233445566778899aabbccddeeff", "0011223g-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff0"} {
		if _, err := ParseUUID(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestATimestampIsKeptToTheNanosecond(t *testing.T) {
	for _, nanos := range []int64{0, 1, -1, 1_700_000_000_123_456_789, math.MinInt64, math.MaxInt64} {
		if found := TimestampOf(Timestamp(nanos).Time()); int64(found) != nanos {
			t.Errorf("%d came back as %d", nanos, found)
		}
	}
	if text := Timestamp(1).Time().Format(time.RFC3339Nano); text != "1970-01-01T00:00:00.000000001Z" {
		t.Error(text)
	}
}

func TestTheKindOfAnErrorSurvivesWrapping(t *testing.T) {
	err := AsError(fmt.Errorf("storing 3 traces: %w", Unavailable("no answer from %s", "db")))
	if err.Kind != KindUnavailable || err.Message != "storing 3 traces: no answer from db" {
		t.Errorf("%+v", err)
	}
	if err := AsError(errors.New("anything")); err.Kind != KindOther || err.Retryable {
		t.Errorf("%+v", err)
	}
	wrapped := AsError(fmt.Errorf("x: %w", &Error{Kind: KindOther, Message: "busy", Retryable: true}))
	if !wrapped.Retryable || wrapped.Message != "x: busy" {
		t.Errorf("%+v", wrapped)
	}
}

func TestEveryKindBecomesTheErrorOfTheContract(t *testing.T) {
	for kind := KindInvalidArgument; kind <= KindOther; kind++ {
		if raw := storageError(Error{Kind: kind, Message: "m"}); raw.Tag() != uint8(kind) {
			t.Errorf("%d became %d", kind, raw.Tag())
		}
	}
}

func TestAStatusHasTheNameOfTheModel(t *testing.T) {
	if Failed.String() != "Failed" || Pending.String() != "Pending" || Status(9).String() != "unknown" {
		t.Error(Failed, Pending, Status(9))
	}
}
