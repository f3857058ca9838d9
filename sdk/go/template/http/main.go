// A forwarder of reflow-tracing: each header and each event that is stored is posted to the setting `url`, as lines of JSON. It keeps
// nothing and answers no query, so the host uses it beside a store: `also` in `[storage]` names it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/offbit-ai/reflow/sdk/go/http"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	"github.com/offbit-ai/reflow/sdk/go/render"
)

// bodySize is how many bytes a request has at most, unless one line alone has more: a larger batch is posted in several.
const bodySize = 256 << 10

func init() { plugin.Export(&forwarder{}) }

func main() {}

type forwarder struct {
	// Reads answer that they are unsupported.
	plugin.Unreadable
	URL string `json:"url"`
}

// Open reads the settings: config = { url = "https://example.com/traces" }.
func (f *forwarder) Open(config string) (info plugin.Info, err error) {
	decoder := json.NewDecoder(bytes.NewBufferString(config))
	// A misspelt setting is noticed.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(f); err != nil {
		return info, plugin.InvalidArgument("the settings %s are invalid: %v; the only one is `url`", config, err)
	}
	if f.URL == "" {
		return info, plugin.InvalidArgument("the setting `url` is missing: add config = { url = \"https://example.com/traces\" }")
	}
	return plugin.Info{Name: plugin.Name, Version: "0.1.0"}, http.CheckURL(f.URL)
}

// StoreTraces posts a line for each header. The host renders the JSON.
func (f *forwarder) StoreTraces(traces []plugin.Trace) error {
	bodies := make([][]byte, len(traces))
	for i, trace := range traces {
		bodies[i] = trace.Body
	}
	lines, err := render.HeadersToJSON(bodies)
	if err != nil {
		return err
	}
	return f.post(lines)
}

// StoreEvents posts a line for each event, with the id of its trace.
func (f *forwarder) StoreEvents(events *plugin.EventBatch) error {
	traces, err := events.UUIDs("trace-id")
	if err != nil {
		return err
	}
	lines, err := events.Texts("json")
	if err != nil {
		return err
	}
	for i, line := range lines {
		lines[i] = `{"trace_id":"` + traces[i].String() + `","event":` + line + "}"
	}
	return f.post(lines)
}

// HealthCheck is content with any answer: it shows that the receiver can be reached, and many refuse the method.
func (f *forwarder) HealthCheck() error {
	_, err := http.Send(http.Request{Method: "HEAD", URL: f.URL})
	return err
}

// post posts the lines. When it fails, the host calls again, so a receiver may get lines twice.
func (f *forwarder) post(lines []string) error {
	for len(lines) > 0 {
		body, rest := nextBody(lines)
		lines = rest
		response, err := http.Send(http.Request{
			Method: "POST", URL: f.URL, Headers: []http.Header{{Name: "content-type", Value: "application/x-ndjson"}}, Body: body,
		})
		if err != nil {
			return err
		}
		if err := problem(f.URL, response.Status); err != nil {
			return err
		}
	}
	return nil
}

// nextBody is the lines of the next request, and the others.
func nextBody(lines []string) (body []byte, rest []string) {
	for i, line := range lines {
		if i > 0 && len(body)+len(line) >= bodySize {
			return body, lines[i:]
		}
		body = append(append(body, line...), '\n')
	}
	return body, nil
}

// problem says whether the receiver may accept the same later.
func problem(url string, status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status >= 500 || status == 408 || status == 429:
		return plugin.Unavailable("%s answered %d", url, status)
	}
	return &plugin.Error{Kind: plugin.KindOther, Message: fmt.Sprintf("%s answered %d: it refuses what it was sent", url, status)}
}
