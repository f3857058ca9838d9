package main

import (
	"math"
	"reflect"
	"testing"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestATokenComesBackAndOthersAreRefused(t *testing.T) {
	for _, at := range []*position{{start: -1, id: plugin.UUIDOf(1, 2)}, {start: 7, cursor: []byte{}}, {cursor: []byte("next")}} {
		if found, err := parseToken(at.token()); err != nil || !reflect.DeepEqual(found, at) {
			t.Errorf("%+v came back as %+v, %v", at, found, err)
		}
	}
	for _, token := range []string{"", "no such token", "2234567890123456789012345"} {
		if _, err := parseToken([]byte(token)); plugin.AsError(err).Kind != plugin.KindInvalidArgument {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func TestTheKeysBetweenTwoStartsHaveThePrefix(t *testing.T) {
	if found := prefixOf(math.MinInt64, math.MaxInt64); string(found) != "t" {
		t.Errorf("%q", found)
	}
	if found := prefixOf(256, 511); string(found) != "t\x80\x00\x00\x00\x00\x00\x01" {
		t.Errorf("%q", found)
	}
}
