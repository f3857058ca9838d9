package http

import (
	"strings"
	"testing"

	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_http_types"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

func TestAURLIsSplitIntoWhatARequestHas(t *testing.T) {
	for url, expected := range map[string]target{
		"http://localhost":                   {false, "localhost", "/"},
		"https://example.com:8443/a%20b?c=d": {true, "example.com:8443", "/a%20b?c=d"},
		"https://example.com?q#fragment":     {true, "example.com", "/?q"},
		"http://[::1]:80/x":                  {false, "[::1]:80", "/x"},
	} {
		if found, err := parseTarget(url); err != nil || found != expected {
			t.Errorf("%s: %+v, %v", url, found, err)
		}
	}
	for _, url := range []string{"", "example.com", "ftp://example.com", "http://", "http://user:secret@example.com", "http://a b", "http://user:secret@a b"} {
		_, err := parseTarget(url)
		if plugin.AsError(err).Kind != plugin.KindInvalidArgument || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestACodeBecomesTheErrorThatFits(t *testing.T) {
	request, at := Request{Method: "POST"}, target{true, "example.com", "/?token=secret"}
	for _, expected := range []struct {
		code wasi_http_types.ErrorCode
		kind plugin.Kind
		part string
	}{
		{wasi_http_types.MakeErrorCodeHttpRequestDenied(), plugin.KindInvalidArgument, `http = ["https://example.com"]`},
		{wasi_http_types.MakeErrorCodeHttpRequestUriInvalid(), plugin.KindInvalidArgument, "the URL"},
		{wasi_http_types.MakeErrorCodeHttpResponseBodySize(witTypes.Some(uint64(1))), plugin.KindExhausted, "too large"},
		{wasi_http_types.MakeErrorCodeConnectionRefused(), plugin.KindUnavailable, "POST https://example.com: can't connect"},
		{wasi_http_types.MakeErrorCodeInternalError(witTypes.Some("no header")), plugin.KindUnavailable, "no header"},
		{wasi_http_types.MakeErrorCodeLoopDetected(), plugin.KindUnavailable, "error 36 of wasi:http"},
	} {
		found := plugin.AsError(failed(request, at, expected.code))
		if found.Kind != expected.kind || !strings.Contains(found.Message, expected.part) || strings.Contains(found.Message, "secret") {
			t.Errorf("%+v, expected %+v", found, expected)
		}
	}
}

func TestAHeaderIsFoundInAnyCase(t *testing.T) {
	response := Response{Headers: []Header{{"Retry-After", "5"}, {"retry-after", "6"}}}
	if response.Header("retry-AFTER") != "5" || response.Header("etag") != "" {
		t.Error(response)
	}
}
