package redis

import bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_redis"

// Reply is the reply to a command. The zero value is nil, what Redis answers for what does not exist.
type Reply struct {
	kind     uint8
	number   int64
	bytes    []byte
	elements []Reply
	err      error
}

// IsNil says whether there is no value.
func (r Reply) IsNil() bool { return r.kind == bindings.ReplyNil }

// Int is the number of an integer reply; 0 for others.
func (r Reply) Int() int64 { return r.number }

// Bytes is the bytes of a string or of a status; nil for others.
func (r Reply) Bytes() []byte { return r.bytes }

// Elements is the elements of an array; nil for others.
func (r Reply) Elements() []Reply { return r.elements }

// Err is the error of this command alone.
func (r Reply) Err() error { return r.err }

// FirstError is the error of the first command that the server refused; nil when it refused none.
func FirstError(replies []Reply) error {
	for _, reply := range replies {
		if reply.err != nil {
			return reply.err
		}
	}
	return nil
}

// nested makes replies of their parts in reading order: an array is its length, then its elements.
func nested(parts []bindings.Reply) (replies []Reply) {
	for len(parts) > 0 {
		var reply Reply
		reply, parts = next(parts)
		replies = append(replies, reply)
	}
	return replies
}

func next(parts []bindings.Reply) (reply Reply, rest []bindings.Reply) {
	first, rest := parts[0], parts[1:]
	reply.kind = first.Tag()
	switch reply.kind {
	case bindings.ReplyInteger:
		reply.number = first.Integer()
	case bindings.ReplyStatus:
		reply.bytes = []byte(first.Status())
	case bindings.ReplyBytes:
		// Empty bytes are a value.
		reply.bytes = append([]byte{}, first.Bytes()...)
	case bindings.ReplyFailed:
		reply.err = &Error{Kind: Server, Message: first.Failed()}
	case bindings.ReplyArray:
		reply.elements = make([]Reply, first.Array())
		for i := range reply.elements {
			reply.elements[i], rest = next(rest)
		}
	}
	return reply, rest
}
