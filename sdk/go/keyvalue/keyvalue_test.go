package keyvalue

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_keyvalue"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestKeysSortLikeTheirNumbers(t *testing.T) {
	numbers := []int64{math.MinInt64, -256, -1, 0, 1, 255, 256, math.MaxInt64}
	for i, number := range numbers {
		if Unsort(Sort(number)) != number {
			t.Errorf("%d came back as %d", number, Unsort(Sort(number)))
		}
		if i > 0 && bytes.Compare(Sort(numbers[i-1]), Sort(number)) >= 0 {
			t.Errorf("%d does not sort before %d", numbers[i-1], number)
		}
	}
	if !bytes.Equal(Sort(1), []byte{0x80, 0, 0, 0, 0, 0, 0, 1}) {
		t.Error(Sort(1))
	}
}

func TestAnErrorOfABucketBecomesTheErrorThatFits(t *testing.T) {
	for _, test := range []struct {
		raw  bindings.KeyvalueError
		kind plugin.Kind
		part string
	}{
		{bindings.MakeKeyvalueErrorNoSuchLabel("mine"), plugin.KindInvalidArgument, "keyvalue = { mine"},
		{bindings.MakeKeyvalueErrorInvalidArgument("limit 0"), plugin.KindInvalidArgument, "limit 0"},
		{bindings.MakeKeyvalueErrorAccessDenied("denied"), plugin.KindInvalidArgument, "denied"},
		{bindings.MakeKeyvalueErrorTimeout(), plugin.KindUnavailable, "in time"},
		{bindings.MakeKeyvalueErrorUnavailable("down"), plugin.KindUnavailable, "down"},
		{bindings.MakeKeyvalueErrorLimitExceeded("16 MiB"), plugin.KindExhausted, "16 MiB"},
		{bindings.MakeKeyvalueErrorOther("odd"), plugin.KindOther, "odd"},
	} {
		var err error = errorOf(test.raw)
		if found := plugin.AsError(err); found.Kind != test.kind || !strings.Contains(found.Message, test.part) {
			t.Errorf("%+v, expected %d with %q", found, test.kind, test.part)
		}
		var own *Error
		if !errors.As(err, &own) || uint8(own.Kind) != test.raw.Tag() {
			t.Errorf("%+v lost its own kind", err)
		}
	}
}

func TestAnIteratorFollowsThePagesAndEndsAtAnError(t *testing.T) {
	pages := map[string][]int{"": {1, 2}, "b": {}, "c": {3}}
	next := map[string][]byte{"": []byte("b"), "b": []byte("c")}
	page := func(cursor []byte) ([]int, []byte, error) { return pages[string(cursor)], next[string(cursor)], nil }
	var found []int
	for number, err := range all(page) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, number)
	}
	if len(found) != 3 || found[2] != 3 {
		t.Error(found)
	}
	failing := func([]byte) ([]int, []byte, error) { return nil, nil, errors.New("gone") }
	count := 0
	for _, err := range all(failing) {
		count++
		if err == nil {
			t.Error("no error")
		}
	}
	if count != 1 {
		t.Errorf("%d items after an error", count)
	}
}

func TestAnEmptyValueIsNotAnAbsentOne(t *testing.T) {
	if present(optional(nil)) != nil || present(optional([]byte{})) == nil {
		t.Error("they are mixed up")
	}
}
