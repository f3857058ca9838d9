package sql

import (
	"fmt"
	"reflect"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_sql"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// Value is a value of the database. What it has no type for comes as text.
type Value = bindings.Value

// Row is a row of an answer.
type Row []Value

// Scan copies the columns into what the destinations point to: a bool, an int64, a uint64, a float64, a string, bytes, a
// [plugin.Timestamp], a [plugin.UUID] of 16 bytes, or a pointer to one of these, which is nil for NULL.
func (r Row) Scan(destinations ...any) error {
	if len(destinations) > len(r) {
		return fmt.Errorf("the row has %d columns, not %d", len(r), len(destinations))
	}
	for i, destination := range destinations {
		if err := scan(r[i], destination); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func scan(value Value, destination any) error {
	tag := value.Tag()
	switch to := destination.(type) {
	case *bool:
		if tag == bindings.ValueBoolean {
			*to = value.Boolean()
			return nil
		}
		// SQLite and MySQL have no such type.
		if tag == bindings.ValueInteger {
			*to = value.Integer() != 0
			return nil
		}
	case *int64:
		if tag == bindings.ValueInteger {
			*to = value.Integer()
			return nil
		}
	case *uint64:
		if tag == bindings.ValueInteger && value.Integer() >= 0 {
			*to = uint64(value.Integer())
			return nil
		}
	case *plugin.Timestamp:
		if tag == bindings.ValueInteger {
			*to = plugin.Timestamp(value.Integer())
			return nil
		}
	case *float64:
		if tag == bindings.ValueReal {
			*to = value.Real()
			return nil
		}
	case *string:
		if tag == bindings.ValueText {
			*to = value.Text()
			return nil
		}
	case *[]byte:
		if tag == bindings.ValueBlob {
			*to = value.Blob()
			return nil
		}
	case *plugin.UUID:
		if tag == bindings.ValueBlob && len(value.Blob()) == len(to) {
			*to = plugin.UUID(value.Blob())
			return nil
		}
	default:
		// A pointer to a pointer, which is nil for NULL.
		pointer := reflect.ValueOf(destination)
		if pointer.Kind() != reflect.Pointer || pointer.Elem().Kind() != reflect.Pointer {
			return fmt.Errorf("can't scan into the type %T", destination)
		}
		if tag == bindings.ValueNull {
			pointer.Elem().SetZero()
			return nil
		}
		target := reflect.New(pointer.Elem().Type().Elem())
		if err := scan(value, target.Interface()); err != nil {
			return err
		}
		pointer.Elem().Set(target)
		return nil
	}
	return fmt.Errorf("%s is not a value for the type %T", kinds[tag], destination)
}

var kinds = [...]string{"NULL", "a boolean", "an integer", "a real number", "a text", "a blob"}

func encoded(parameters []any) ([]Value, error) {
	values := make([]Value, len(parameters))
	for i, parameter := range parameters {
		value, err := encode(parameter)
		if err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i+1, err)
		}
		values[i] = value
	}
	return values, nil
}

func encode(parameter any) (Value, error) {
	switch parameter := parameter.(type) {
	case nil:
		return bindings.MakeValueNull(), nil
	case bool:
		return bindings.MakeValueBoolean(parameter), nil
	case int:
		return bindings.MakeValueInteger(int64(parameter)), nil
	case int64:
		return bindings.MakeValueInteger(parameter), nil
	case plugin.Timestamp:
		return bindings.MakeValueInteger(int64(parameter)), nil
	case plugin.Status:
		return bindings.MakeValueText(parameter.String()), nil
	case float64:
		return bindings.MakeValueReal(parameter), nil
	case string:
		return bindings.MakeValueText(parameter), nil
	case []byte:
		return bindings.MakeValueBlob(parameter), nil
	case plugin.UUID:
		return bindings.MakeValueBlob(parameter[:]), nil
	}
	if pointer := reflect.ValueOf(parameter); pointer.Kind() == reflect.Pointer {
		if pointer.IsNil() {
			return bindings.MakeValueNull(), nil
		}
		return encode(pointer.Elem().Interface())
	}
	return Value{}, fmt.Errorf("a value can't be of the type %T", parameter)
}

// Binding is where a parameter of [Statements.InsertBatch] comes from.
type Binding = bindings.Binding

// Field binds a field of the event, by the name that wit/deps/storage/batch.wit lists: a UUID as 16 bytes, or as the database's own type
// for it, an absent value as NULL.
func Field(name string) Binding { return bindings.MakeBindingField(name) }

// Fields binds several fields.
func Fields(names ...string) []Binding {
	fields := make([]Binding, len(names))
	for i, name := range names {
		fields[i] = Field(name)
	}
	return fields
}

// High binds the high half of a UUID field, as the bits of a signed integer.
func High(name string) Binding { return bindings.MakeBindingHigh(name) }

// Low binds the low half of a UUID field, as the bits of a signed integer.
func Low(name string) Binding { return bindings.MakeBindingLow(name) }

// Fixed binds the same value for every row. It panics on a value that can't be a parameter.
func Fixed(value any) Binding {
	encoded, err := encode(value)
	if err != nil {
		panic(err)
	}
	return bindings.MakeBindingFixed(encoded)
}

// LookedUp binds the value that a statement returns for a UUID field, its only parameter. The statement, which may also insert it, runs
// once for each distinct UUID of the rows, in the transaction of the call.
func LookedUp(field, statement string) Binding {
	return bindings.MakeBindingLookedUp(bindings.Lookup{Field: field, Statement: statement})
}
