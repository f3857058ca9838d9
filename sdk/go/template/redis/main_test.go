package main

import (
	"bytes"
	"math"
	"testing"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestPlacesSortByStartInBothOrdersAndEqualStartsByAscendingID(t *testing.T) {
	one, two := plugin.UUIDOf(0, 1), plugin.UUIDOf(0, 2)
	starts := []plugin.Timestamp{math.MinInt64, -1, 0, 1, math.MaxInt64}
	for i, start := range starts {
		for _, ascending := range []bool{true, false} {
			place := startPlace(start, one, ascending)
			if found, id := parseStartPlace(place, ascending); found != start || id != one {
				t.Errorf("%d came back as %d %s", start, found, id)
			}
			if bytes.Compare(place, startPlace(start, two, ascending)) >= 0 {
				t.Errorf("equal starts %d are not sorted by id", start)
			}
			if i > 0 && (bytes.Compare(startPlace(starts[i-1], two, ascending), place) < 0) != ascending {
				t.Errorf("%d is on the wrong side of %d", start, starts[i-1])
			}
		}
	}
}

func TestTheBoundsIncludeBothEnds(t *testing.T) {
	first, last := plugin.Timestamp(5), plugin.Timestamp(7)
	for _, ascending := range []bool{true, false} {
		low, high := bounds(&plugin.Query{StartFrom: &first, StartTo: &last, Ascending: ascending})
		for start := first - 1; start <= last+1; start++ {
			for _, id := range []plugin.UUID{{}, plugin.UUIDOf(math.MaxUint64, math.MaxUint64)} {
				place := startPlace(start, id, ascending)
				within := bytes.Compare(place, low[1:]) >= 0 && bytes.Compare(place, high[1:]) <= 0
				if within != (first <= start && start <= last) {
					t.Errorf("%d is within: %v, ascending: %v", start, within, ascending)
				}
			}
		}
	}
}
