package redis

import (
	"fmt"
	"strconv"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_redis"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// Command is a command: its name and its arguments.
type Command struct {
	parts [][]byte
	err   error
}

// Cmd makes a command. An argument is a string, bytes, an int, an int64, a uint64, or a [plugin.UUID], which is written in its hyphenated
// form; a [][]byte is as many arguments.
func Cmd(name string, arguments ...any) Command {
	command := Command{parts: [][]byte{[]byte(name)}}
	for _, argument := range arguments {
		switch argument := argument.(type) {
		case string:
			command.parts = append(command.parts, []byte(argument))
		case []byte:
			command.parts = append(command.parts, argument)
		case [][]byte:
			command.parts = append(command.parts, argument...)
		case int:
			command.parts = append(command.parts, strconv.AppendInt(nil, int64(argument), 10))
		case int64:
			command.parts = append(command.parts, strconv.AppendInt(nil, argument, 10))
		case uint64:
			command.parts = append(command.parts, strconv.AppendUint(nil, argument, 10))
		case plugin.UUID:
			command.parts = append(command.parts, []byte(argument.String()))
		default:
			command.err = fmt.Errorf("an argument of the command %s can't be of the type %T", name, argument)
		}
	}
	return command
}

// encoded is the commands as the host takes them.
func encoded(commands []Command) ([][][]byte, error) {
	raw := make([][][]byte, len(commands))
	for i, command := range commands {
		if command.err != nil {
			return nil, command.err
		}
		raw[i] = command.parts
	}
	return raw, nil
}

// Template is a command for each event of a batch: its name and its arguments, each in parts, which are joined.
type Template [][]Part

// Part is a piece of an argument.
type Part = bindings.Part

// Fill makes a template.
func Fill(name string, arguments ...[]Part) Template {
	return append(Template{Join(Fixed(name))}, arguments...)
}

// Join is an argument in parts.
func Join(parts ...Part) []Part { return parts }

// Fixed is bytes as they are.
func Fixed(text string) Part { return bindings.MakePartFixed([]byte(text)) }

// Field is a field of the event as text, by the name that wit/deps/storage/batch.wit lists; `body` is its bytes.
func Field(name string) Part { return bindings.MakePartField(name) }

// Sortable is a field of the event in bytes that sort like the value, as [plugin.Sort] and [plugin.UUID] write them.
func Sortable(name string) Part { return bindings.MakePartSortable(name) }

// Present is `1` when the event has a value in this field, `0` when it is absent.
func Present(name string) Part { return bindings.MakePartPresent(name) }
