package plugin

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_types"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// call runs a function of the backend for the host.
func call[T any](function func() (T, error)) witTypes.Result[T, reflow_storage_types.StorageError] {
	defer reportPanic()
	value, err := function()
	memory.Release()
	if err != nil {
		return witTypes.Err[T](storageError(AsError(err)))
	}
	return witTypes.Ok[T, reflow_storage_types.StorageError](value)
}

func perform(function func() error) witTypes.Result[witTypes.Unit, reflow_storage_types.StorageError] {
	return call(func() (unit witTypes.Unit, err error) { return unit, function() })
}

func storageError(err Error) reflow_storage_types.StorageError {
	switch err.Kind {
	case KindInvalidArgument:
		return reflow_storage_types.MakeStorageErrorInvalidArgument(err.Message)
	case KindNotFound:
		return reflow_storage_types.MakeStorageErrorNotFound(err.Message)
	case KindConflict:
		return reflow_storage_types.MakeStorageErrorConflict(err.Message)
	case KindUnavailable:
		return reflow_storage_types.MakeStorageErrorUnavailable(err.Message)
	case KindExhausted:
		return reflow_storage_types.MakeStorageErrorExhausted(err.Message)
	case KindUnsupported:
		return reflow_storage_types.MakeStorageErrorUnsupported(err.Message)
	default:
		failure := reflow_storage_types.Failure{Message: err.Message, Retryable: err.Retryable}
		return reflow_storage_types.MakeStorageErrorOther(failure)
	}
}

// reportPanic prints a panic and where it happened, and ends the instance: the host calls once more on a new one. Go's own report
// has the stacks of all goroutines, of which the host keeps the last lines only.
func reportPanic() {
	reason := recover()
	if reason == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "panic (%T): %v\n", reason, reason)
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for shown := 0; shown < 6; {
		frame, more := frames.Next()
		// The frames of the runtime, and of this package, do not help.
		if !strings.HasPrefix(frame.Function, "runtime.") && !strings.Contains(frame.Function, "/sdk/go/plugin.") {
			fmt.Fprintf(os.Stderr, "  at %s (%s:%d)\n", frame.Function, frame.File, frame.Line)
			shown++
		}
		if !more || strings.Contains(frame.Function, "wasm_export_") {
			break
		}
	}
	os.Exit(2)
}
