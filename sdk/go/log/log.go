// Package log writes to the host's log, which adds the plugin's name. The arguments are those of fmt.Sprintf.
package log

import (
	"fmt"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_log"
)

// Trace is for every detail.
func Trace(format string, args ...any) { write(bindings.LevelTrace, format, args) }

// Debug is for what helps to find a fault. RUST_LOG=debug shows it.
func Debug(format string, args ...any) { write(bindings.LevelDebug, format, args) }

// Info is for what an operator should know.
func Info(format string, args ...any) { write(bindings.LevelInfo, format, args) }

// Warn is for what may become a failure.
func Warn(format string, args ...any) { write(bindings.LevelWarn, format, args) }

// Error is for failures.
func Error(format string, args ...any) { write(bindings.LevelError, format, args) }

func write(level bindings.Level, format string, args []any) {
	bindings.Log(level, fmt.Sprintf(format, args...))
}
