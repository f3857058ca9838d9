// Package http sends requests to the origins that the operator has granted: grants = { http = ["https://api.example.com"] }. The world in
// wit/world.wit must contain `import wasi:http/outgoing-handler@0.2.12;`.
//
// It has no dependency on net/http, which would double the size of a plugin. Headers with secrets belong into the grant, where the host
// adds them and the plugin does not see them. Redirects are answers like others.
package http

import (
	"strings"
	"time"
)

// DefaultTimeout is a little shorter than the time that a host gives a call by default.
const DefaultTimeout = 4 * time.Second

// DefaultLimit is how many bytes the body of a response may have by default.
const DefaultLimit = 1 << 20

// Request is a request with its whole body.
type Request struct {
	// Method is GET if it is empty.
	Method string
	// URL has the scheme `http` or `https`.
	URL     string
	Headers []Header
	Body    []byte
	// Timeout bounds the whole exchange; 0 means [DefaultTimeout].
	Timeout time.Duration
	// Limit is how many bytes the body of the response may have; 0 means [DefaultLimit].
	Limit int
}

// Header is a header field.
type Header struct{ Name, Value string }

// Response is a response with its whole body.
type Response struct {
	Status  int
	Headers []Header
	Body    []byte
}

// Header is the first value of a header field, whose name may be in upper or lower case; empty when there is none.
func (r *Response) Header(name string) string {
	for _, header := range r.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

// Send sends the request and waits for the whole response, whatever its status is.
//
// Without a response the error has the kind that fits: invalid argument for a request that is invalid or not granted, exhausted for a
// body that is too large, and unavailable, so that the host calls again, for the rest.
func Send(request Request) (*Response, error) {
	if request.Method == "" {
		request.Method = "GET"
	}
	if request.Timeout <= 0 {
		request.Timeout = DefaultTimeout
	}
	if request.Limit <= 0 {
		request.Limit = DefaultLimit
	}
	at, err := parseTarget(request.URL)
	if err != nil {
		return nil, err
	}
	return exchange(request, at)
}

// CheckURL fails when requests to the URL would fail as invalid.
func CheckURL(url string) error {
	_, err := parseTarget(url)
	return err
}
