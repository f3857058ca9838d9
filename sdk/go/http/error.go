package http

import (
	"fmt"

	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_http_types"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// reasons are the codes of wasi:http in words, by their numbers.
var reasons = [...]string{
	wasi_http_types.ErrorCodeDnsTimeout:                   "its name was not resolved in time",
	wasi_http_types.ErrorCodeDnsError:                     "its name can't be resolved",
	wasi_http_types.ErrorCodeDestinationNotFound:          "there is no such host",
	wasi_http_types.ErrorCodeDestinationUnavailable:       "the host is unavailable",
	wasi_http_types.ErrorCodeDestinationIpProhibited:      "the address is prohibited",
	wasi_http_types.ErrorCodeDestinationIpUnroutable:      "there is no route to the address",
	wasi_http_types.ErrorCodeConnectionRefused:            "can't connect",
	wasi_http_types.ErrorCodeConnectionTerminated:         "the connection broke",
	wasi_http_types.ErrorCodeConnectionTimeout:            "there was no connection in time",
	wasi_http_types.ErrorCodeConnectionReadTimeout:        "there was no answer in time",
	wasi_http_types.ErrorCodeConnectionWriteTimeout:       "the request was not taken in time",
	wasi_http_types.ErrorCodeConnectionLimitReached:       "too many connections are open",
	wasi_http_types.ErrorCodeTlsProtocolError:             "no TLS connection",
	wasi_http_types.ErrorCodeTlsCertificateError:          "its certificate is not trusted",
	wasi_http_types.ErrorCodeTlsAlertReceived:             "it refused the TLS connection",
	wasi_http_types.ErrorCodeHttpRequestDenied:            "the origin is not granted",
	wasi_http_types.ErrorCodeHttpRequestLengthRequired:    "the request has no length",
	wasi_http_types.ErrorCodeHttpRequestBodySize:          "the body of the request is too large",
	wasi_http_types.ErrorCodeHttpRequestMethodInvalid:     "the method is invalid",
	wasi_http_types.ErrorCodeHttpRequestUriInvalid:        "the URL is invalid",
	wasi_http_types.ErrorCodeHttpRequestUriTooLong:        "the URL is too long",
	wasi_http_types.ErrorCodeHttpRequestHeaderSectionSize: "the headers of the request are too large",
	wasi_http_types.ErrorCodeHttpRequestHeaderSize:        "a header of the request is too large",
	wasi_http_types.ErrorCodeHttpResponseIncomplete:       "the answer ended too early",
	wasi_http_types.ErrorCodeHttpResponseBodySize:         "the answer is too large",
	wasi_http_types.ErrorCodeHttpResponseTimeout:          "the answer did not end in time",
	wasi_http_types.ErrorCodeHttpProtocolError:            "the answer is not valid HTTP",
	wasi_http_types.ErrorCodeInternalError:                "the host failed to send it; its log says why",
}

// failed is the error for a code of wasi:http.
func failed(request Request, at target, code wasi_http_types.ErrorCode) error {
	tag := int(code.Tag())
	reason := fmt.Sprintf("error %d of wasi:http", tag)
	if tag < len(reasons) && reasons[tag] != "" {
		reason = reasons[tag]
	}
	if code.Tag() == wasi_http_types.ErrorCodeInternalError {
		reason = code.InternalError().SomeOr(reason)
	}
	message := fmt.Sprintf("%s %s: %s", request.Method, at, reason)
	switch code.Tag() {
	case wasi_http_types.ErrorCodeHttpRequestDenied:
		return plugin.InvalidArgument("%s: add grants = { http = [%q] }", message, at)
	case wasi_http_types.ErrorCodeHttpRequestMethodInvalid, wasi_http_types.ErrorCodeHttpRequestUriInvalid,
		wasi_http_types.ErrorCodeHttpRequestUriTooLong, wasi_http_types.ErrorCodeHttpRequestHeaderSectionSize,
		wasi_http_types.ErrorCodeHttpRequestHeaderSize:
		return plugin.InvalidArgument("%s", message)
	case wasi_http_types.ErrorCodeHttpRequestBodySize, wasi_http_types.ErrorCodeHttpResponseBodySize:
		return plugin.Exhausted("%s", message)
	}
	return plugin.Unavailable("%s", message)
}
