package http

import (
	"errors"
	"net/url"

	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// target is a URL in the parts that a request has.
type target struct {
	// secure is whether the scheme is https.
	secure          bool
	authority, path string
}

func parseTarget(text string) (at target, err error) {
	parsed, err := url.Parse(text)
	switch {
	case err != nil:
		// The URL may have a secret in it.
		var invalid *url.Error
		if errors.As(err, &invalid) {
			err = invalid.Err
		}
		return at, plugin.InvalidArgument("the URL is not valid: %v", err)
	case parsed.User != nil:
		return at, plugin.InvalidArgument("the URL of %s has a user: put the header `authorization` into the grant instead", parsed.Host)
	case parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "":
		return at, plugin.InvalidArgument("the URL %q is not valid: expected http://host/path or https://host/path", text)
	}
	return target{parsed.Scheme == "https", parsed.Host, parsed.RequestURI()}, nil
}

// String is the origin, for messages: a path or a query may have a secret in it.
func (t target) String() string {
	if t.secure {
		return "https://" + t.authority
	}
	return "http://" + t.authority
}
