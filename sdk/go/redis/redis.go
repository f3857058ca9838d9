// Package redis is Redis servers that the operator has granted, by label. The host puts the prefix of the grant before every key of a
// command and takes it off the keys of an answer.
package redis

import (
	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_redis"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Connection is a server. Errors are of the type [Error], whose kind is that of the host's errors.
type Connection struct{ raw *bindings.Connection }

// Open opens the server that the operator granted under the label.
func Open(label string) (*Connection, error) {
	raw, err := answer(bindings.ConnectionOpen(label))
	return &Connection{raw}, err
}

// Do runs a command, made as by [Cmd]. Its error may be that of the command.
func (c *Connection) Do(name string, arguments ...any) (Reply, error) {
	replies, err := c.Pipeline(Cmd(name, arguments...))
	if err != nil {
		return Reply{}, err
	}
	return replies[0], replies[0].Err()
}

// Pipeline runs the commands in one round trip, in order, and returns a reply for each. A command that the server refuses does not keep
// the others from running; its reply has the error.
func (c *Connection) Pipeline(commands ...Command) ([]Reply, error) {
	raw, err := encoded(commands)
	if err != nil {
		return nil, err
	}
	replies, err := answer(c.raw.Pipeline(raw))
	return nested(replies), err
}

// Expectation is a key, and the string that it must hold; nil: it must not exist.
type Expectation struct{ Key, Value []byte }

// Atomically runs the commands as one transaction, if every key holds its expected value until they have run. Otherwise nothing runs and
// `ran` is false: read again, then retry.
func (c *Connection) Atomically(expected []Expectation, commands ...Command) (replies []Reply, ran bool, err error) {
	raw, err := encoded(commands)
	if err != nil {
		return nil, false, err
	}
	conditions := make([]bindings.Expectation, len(expected))
	for i, one := range expected {
		value := witTypes.None[[]uint8]()
		if one.Value != nil {
			value = witTypes.Some(one.Value)
		}
		conditions[i] = bindings.Expectation{Key: one.Key, Value: value}
	}
	found, err := answer(c.raw.Atomically(conditions, raw))
	if err != nil || found.IsNone() {
		return nil, false, err
	}
	return nested(found.Some()), true, nil
}

// PipelineBatch runs the commands once for each event of the batch; the events never enter the plugin. It returns how many commands ran.
//
// An event is skipped when the command `unless` answers with anything but 0 or nil; without one (nil), none is.
func (c *Connection) PipelineBatch(unless Template, commands []Template, events *plugin.EventBatch) (uint64, error) {
	condition := witTypes.None[[][]Part]()
	if unless != nil {
		condition = witTypes.Some([][]Part(unless))
	}
	raw := make([][][]Part, len(commands))
	for i, command := range commands {
		raw[i] = command
	}
	return answer(c.raw.PipelineBatch(condition, raw, events.Raw()))
}

// Eval runs a Lua script, which needs its own grant (`scripts = true`). Its answer is not changed.
func (c *Connection) Eval(script string, keys, arguments [][]byte) (Reply, error) {
	replies, err := answer(c.raw.Eval(script, keys, arguments))
	if err != nil {
		return Reply{}, err
	}
	reply := nested(replies)[0]
	return reply, reply.Err()
}

// QueryEvents runs commands that answer with bodies of events, nested in arrays or not, which never enter the plugin. They come in the
// order of the replies; nil is skipped.
func (c *Connection) QueryEvents(commands ...Command) (*plugin.EventBatch, error) {
	raw, err := encoded(commands)
	if err != nil {
		return nil, err
	}
	events, err := answer(c.raw.QueryEvents(raw))
	if err != nil {
		return nil, err
	}
	return plugin.WrapEventBatch(events), nil
}

// answer is what a function of the host returned, in Go's way.
func answer[T any](result witTypes.Result[T, bindings.RedisError]) (value T, err error) {
	memory.Release()
	if result.IsErr() {
		return value, errorOf(result.Err())
	}
	return result.Ok(), nil
}
