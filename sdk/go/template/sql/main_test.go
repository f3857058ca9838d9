package main

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestAPageContinuesAfterItsTokenAndHoldsOneMore(t *testing.T) {
	at := position{-6, plugin.UUIDOf(0, 2)}
	if found, err := parseToken(at.token()); err != nil || found != at {
		t.Errorf("%v, %v", found, err)
	}
	statement, parameters, err := selection(&plugin.Query{}, plugin.Page{Limit: 10, Offset: math.MaxUint64, Token: at.token()})
	if err != nil || !strings.Contains(statement, "start_time < ? OR (start_time = ? AND trace_id > ?)") {
		t.Errorf("%s, %v", statement, err)
	}
	if expected := []any{at.time, at.time, at.id, 11, int64(math.MaxInt64)}; !reflect.DeepEqual(parameters, expected) {
		t.Errorf("%v", parameters)
	}
	if _, _, err := selection(&plugin.Query{}, plugin.Page{Limit: 1, Token: []byte("short")}); plugin.AsError(err).Kind != plugin.KindInvalidArgument {
		t.Error(err)
	}
}

func TestAllPredicatesHaveTheirParameters(t *testing.T) {
	text, time, id, status, number, yes := "x", plugin.Timestamp(1), plugin.UUIDOf(1, 2), plugin.Failed, int64(7), true
	query := &plugin.Query{
		FlowID: &text, ExecutionID: &id, StartFrom: &time, StartTo: &time, Status: &status, Error: &text, Actor: &text,
		EventTypes: []string{"DataFlow", "ActorFailed"}, Tags: []plugin.Tag{{Name: "region", Value: "eu"}},
		MinDuration: &number, MaxDuration: &number, HasError: &yes, Ascending: true,
	}
	statement, parameters, err := selection(query, plugin.Page{Limit: 1})
	if err != nil || strings.Count(statement, "?") != len(parameters) || len(parameters) != 15 {
		t.Errorf("%d parameters for %s, %v", len(parameters), statement, err)
	}
	query.More = []plugin.Tag{{Name: "later", Value: "1"}}
	if _, _, err := selection(query, plugin.Page{Limit: 1}); plugin.AsError(err).Kind != plugin.KindUnsupported {
		t.Error(err)
	}
}
