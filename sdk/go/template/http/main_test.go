package main

import (
	"strings"
	"testing"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

func TestALargeBatchIsPostedInPartsThatHoldEachLineOnce(t *testing.T) {
	lines := []string{strings.Repeat("a", bodySize), strings.Repeat("b", bodySize/2), "c", strings.Repeat("d", bodySize/2), "e"}
	var bodies []string
	for rest := lines; len(rest) > 0; {
		body, others := nextBody(rest)
		bodies, rest = append(bodies, string(body)), others
	}
	if len(bodies) != 3 || strings.Join(bodies, "") != strings.Join(lines, "\n")+"\n" {
		t.Errorf("%d bodies", len(bodies))
	}
}

func TestAnAnswerSaysWhetherTheHostCallsAgain(t *testing.T) {
	for status, kind := range map[int]plugin.Kind{
		500: plugin.KindUnavailable, 503: plugin.KindUnavailable, 429: plugin.KindUnavailable, 400: plugin.KindOther, 302: plugin.KindOther,
	} {
		if err := plugin.AsError(problem("http://x", status)); err.Kind != kind || err.Retryable {
			t.Errorf("%d: %+v", status, err)
		}
	}
	if err := problem("http://x", 204); err != nil {
		t.Error(err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, config := range []string{`{}`, `{"url": 5}`, `{"url": "example.com"}`, `{"url": "http://x", "ttl": 1}`, `{"url": "ftp://x"}`} {
		if _, err := new(forwarder).Open(config); plugin.AsError(err).Kind != plugin.KindInvalidArgument {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err := new(forwarder).Open(`{"url": "https://example.com/traces"}`); err != nil {
		t.Error(err)
	}
}
