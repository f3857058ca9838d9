// Package render turns bodies into JSON, which is Reflow's own, and JSON into bodies, without loss.
package render

import (
	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_render"
	"github.com/offbit-ai/reflow/sdk/go/internal/columns"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// HeadersToJSON is a JSON object for each body of a header, which has no events.
func HeadersToJSON(bodies [][]byte) ([]string, error) {
	json, err := answer(bindings.HeadersToJson(columns.JoinBlobs(bodies)))
	return columns.SplitTexts(json), err
}

// HeadersFromJSON is a body for each JSON object. It fails on what is not a header.
func HeadersFromJSON(json []string) ([][]byte, error) {
	bodies, err := answer(bindings.HeadersFromJson(columns.JoinTexts(json)))
	return columns.SplitBlobs(bodies), err
}

// EventsToJSON is a JSON object for each body of an event. For those of a batch, its column `json` is cheaper.
func EventsToJSON(bodies [][]byte) ([]string, error) {
	json, err := answer(bindings.EventsToJson(columns.JoinBlobs(bodies)))
	return columns.SplitTexts(json), err
}

// EventsFromJSON is a body for each JSON object. It fails on what is not an event.
func EventsFromJSON(json []string) ([][]byte, error) {
	bodies, err := answer(bindings.EventsFromJson(columns.JoinTexts(json)))
	return columns.SplitBlobs(bodies), err
}

func answer[T any](result witTypes.Result[T, string]) (value T, err error) {
	memory.Release()
	if result.IsErr() {
		return value, plugin.InvalidArgument("%s", result.Err())
	}
	return result.Ok(), nil
}
