package http

import (
	"strconv"

	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_clocks_monotonic_clock"
	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_http_outgoing_handler"
	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_http_types"
	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_io_poll"
	"github.com/offbit-ai/reflow/sdk/go/bindings/wasi_io_streams"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// piece is how many bytes a call reads or writes at most.
const piece = 64 << 10

// transfer is an exchange that takes place.
type transfer struct {
	request Request
	at      target
	// timer is ready when the time is up.
	timer  *wasi_io_poll.Pollable
	future *wasi_http_types.FutureIncomingResponse
	// answered is ready when the head of the response is there.
	answered *wasi_io_poll.Pollable
}

// exchange sends a valid request. Every handle is dropped before its parent.
func exchange(request Request, at target) (*Response, error) {
	outgoing, err := prepared(request, at)
	if err != nil {
		return nil, err
	}
	body := outgoing.Body().Ok()
	defer body.Drop()
	t := &transfer{request: request, at: at}
	t.timer = wasi_clocks_monotonic_clock.SubscribeDuration(uint64(request.Timeout))
	defer t.timer.Drop()
	handled := wasi_http_outgoing_handler.Handle(outgoing, witTypes.None[*wasi_http_types.RequestOptions]())
	memory.Release()
	if handled.IsErr() {
		return nil, failed(request, at, handled.Err())
	}
	t.future = handled.Ok()
	defer t.future.Drop()
	t.answered = t.future.Subscribe()
	defer t.answered.Drop()
	if err := t.write(body); err != nil {
		return nil, err
	}
	return t.response()
}

// prepared is the request without its body.
func prepared(request Request, at target) (*wasi_http_types.OutgoingRequest, error) {
	entries := []witTypes.Tuple2[string, []uint8]{}
	// Without a length the body would be sent in chunks, also an empty one.
	if len(request.Body) > 0 || request.Method != "GET" && request.Method != "HEAD" {
		length := strconv.Itoa(len(request.Body))
		entries = append(entries, witTypes.Tuple2[string, []uint8]{F0: "content-length", F1: []uint8(length)})
	}
	for _, header := range request.Headers {
		entries = append(entries, witTypes.Tuple2[string, []uint8]{F0: header.Name, F1: []uint8(header.Value)})
	}
	fields := wasi_http_types.FieldsFromList(entries)
	if fields.IsErr() {
		return nil, plugin.InvalidArgument("%s %s: the headers are invalid, or HTTP reserves one of them", request.Method, at)
	}
	scheme := wasi_http_types.MakeSchemeHttp()
	if at.secure {
		scheme = wasi_http_types.MakeSchemeHttps()
	}
	outgoing := wasi_http_types.MakeOutgoingRequest(fields.Ok())
	// The host recognizes the usual methods by their names.
	if outgoing.SetMethod(wasi_http_types.MakeMethodOther(request.Method)).IsErr() ||
		outgoing.SetScheme(witTypes.Some(scheme)).IsErr() ||
		outgoing.SetAuthority(witTypes.Some(at.authority)).IsErr() ||
		outgoing.SetPathWithQuery(witTypes.Some(at.path)).IsErr() {
		outgoing.Drop()
		return nil, plugin.InvalidArgument("%s %s: the method or the URL is invalid", request.Method, at)
	}
	return outgoing, nil
}

// wait waits for one of the handles. It fails when the time is up.
func (t *transfer) wait(handles ...*wasi_io_poll.Pollable) error {
	defer memory.Release()
	for _, index := range wasi_io_poll.Poll(append(handles, t.timer)) {
		if int(index) < len(handles) {
			return nil
		}
	}
	return plugin.Unavailable("%s %s: there was no answer within %s", t.request.Method, t.at, t.request.Timeout)
}

// write sends the body. It stops when the receiver answers early: nobody may be reading any more.
func (t *transfer) write(body *wasi_http_types.OutgoingBody) error {
	stream := body.Write().Ok()
	writable := stream.Subscribe()
	rest := t.request.Body
	for len(rest) > 0 && !t.answered.Ready() {
		room := stream.CheckWrite()
		if room.IsErr() {
			break
		}
		if room.Ok() > 0 {
			next := min(len(rest), piece, int(min(room.Ok(), piece)))
			if stream.Write(rest[:next]).IsErr() {
				break
			}
			rest = rest[next:]
		} else if err := t.wait(writable, t.answered); err != nil {
			writable.Drop()
			stream.Drop()
			return err
		}
		memory.Release()
	}
	writable.Drop()
	stream.Drop()
	// A body that is dropped instead is one that was cut off. The response says why it was.
	if len(rest) == 0 {
		wasi_http_types.OutgoingBodyFinish(body, witTypes.None[*wasi_http_types.Fields]())
	}
	return nil
}

func (t *transfer) response() (*Response, error) {
	if err := t.wait(t.answered); err != nil {
		return nil, err
	}
	answer := t.future.Get().Some().Ok()
	memory.Release()
	if answer.IsErr() {
		return nil, failed(t.request, t.at, answer.Err())
	}
	incoming := answer.Ok()
	defer incoming.Drop()
	response := &Response{Status: int(incoming.Status())}
	fields := incoming.Headers()
	for _, entry := range fields.Entries() {
		response.Headers = append(response.Headers, Header{entry.F0, string(entry.F1)})
	}
	fields.Drop()
	memory.Release()
	body := incoming.Consume().Ok()
	defer body.Drop()
	stream := body.Stream().Ok()
	defer stream.Drop()
	readable := stream.Subscribe()
	defer readable.Drop()
	for {
		if err := t.wait(readable); err != nil {
			return nil, err
		}
		read := stream.Read(piece)
		memory.Release()
		if read.IsErr() {
			if err := t.ended(read.Err()); err != nil {
				return nil, err
			}
			return response, nil
		}
		if response.Body = append(response.Body, read.Ok()...); len(response.Body) > t.request.Limit {
			return nil, plugin.Exhausted("%s %s: the answer has more than %d bytes", t.request.Method, t.at, t.request.Limit)
		}
	}
}

// ended is nil at the end of the body, and the error of one that was cut off.
func (t *transfer) ended(stream wasi_io_streams.StreamError) error {
	if stream.Tag() == wasi_io_streams.StreamErrorClosed {
		return nil
	}
	reason := stream.LastOperationFailed()
	defer reason.Drop()
	if code := wasi_http_types.HttpErrorCode(reason); code.IsSome() {
		return failed(t.request, t.at, code.Some())
	}
	return plugin.Unavailable("%s %s: the answer broke off", t.request.Method, t.at)
}
