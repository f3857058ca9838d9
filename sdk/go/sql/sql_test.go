package sql

import (
	"math"
	"reflect"
	"strings"
	"testing"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_sql"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestAParameterComesBackAsItWas(t *testing.T) {
	id, text, time := plugin.UUIDOf(1, math.MaxUint64), "no \x00 disk", plugin.Timestamp(math.MinInt64)
	values, err := encoded([]any{nil, true, int64(math.MaxInt64), 1.5, text, []byte{0, 255}, id, time, &text, (*string)(nil), plugin.Failed})
	if err != nil {
		t.Fatal(err)
	}
	var (
		none, missing *string
		pointed       *string
		yes           bool
		number        int64
		real          float64
		found, status string
		bytes         []byte
		foundID       plugin.UUID
		foundTime     plugin.Timestamp
	)
	none = &text
	if err := Row(values).Scan(&none, &yes, &number, &real, &found, &bytes, &foundID, &foundTime, &pointed, &missing, &status); err != nil {
		t.Fatal(err)
	}
	if none != nil || !yes || number != math.MaxInt64 || real != 1.5 || found != text || !reflect.DeepEqual(bytes, []byte{0, 255}) ||
		foundID != id || foundTime != time || pointed == nil || *pointed != text || missing != nil || status != "Failed" {
		t.Error(none, yes, number, real, found, bytes, foundID, foundTime, pointed, missing, status)
	}
}

func TestValuesThatDoNotFitAreErrorsWithTheirPlace(t *testing.T) {
	if _, err := encoded([]any{1, struct{}{}}); err == nil || !strings.Contains(err.Error(), "parameter 2") {
		t.Error(err)
	}
	row := Row{bindings.MakeValueNull(), bindings.MakeValueInteger(-1), bindings.MakeValueBlob([]byte("short"))}
	var text string
	var count uint64
	var id plugin.UUID
	var number int64
	for _, destinations := range [][]any{{&text}, {&number, &count}, {&number}, {&id}, {&text, &text, &id}, {&text, &text, &text, &text}, {text}} {
		if err := row.Scan(destinations...); err == nil {
			t.Errorf("%T was accepted", destinations)
		}
	}
	var pointer *int64
	if err := row.Scan(&pointer, &number, new([]byte)); err != nil || pointer != nil || number != -1 {
		t.Error(err, pointer, number)
	}
}

func TestAnErrorOfADatabaseHasTheKindThatFits(t *testing.T) {
	for _, expected := range []struct {
		raw       bindings.SqlError
		kind      plugin.Kind
		retryable bool
		part      string
	}{
		{bindings.MakeSqlErrorNoSuchLabel("main"), plugin.KindInvalidArgument, false, "sql = { main ="},
		{bindings.MakeSqlErrorAccessDenied("denied"), plugin.KindInvalidArgument, false, "denied"},
		{bindings.MakeSqlErrorPoolExhausted(), plugin.KindUnavailable, false, "connections"},
		{bindings.MakeSqlErrorTimeout(), plugin.KindUnavailable, false, "in time"},
		{bindings.MakeSqlErrorConnectionLost("lost"), plugin.KindUnavailable, false, "lost"},
		{bindings.MakeSqlErrorLimitExceeded("large"), plugin.KindExhausted, false, "large"},
		{bindings.MakeSqlErrorDatabase(bindings.DatabaseError{Code: "40001", Message: "deadlock", Retryable: true}), plugin.KindOther, true, "deadlock (40001)"},
		{bindings.MakeSqlErrorConversion("odd"), plugin.KindOther, false, "odd"},
		{bindings.MakeSqlErrorOther("other"), plugin.KindOther, false, "other"},
	} {
		found := plugin.AsError(errorOf(expected.raw))
		if found.Kind != expected.kind || found.Retryable != expected.retryable || !strings.Contains(found.Message, expected.part) {
			t.Errorf("%+v, expected %+v", found, expected)
		}
	}
}
