module github.com/offbit-ai/reflow/sdk/go

go 1.25

// Both come from the `replace` lines of a plugin's go.mod.
require (
	github.com/offbit-ai/reflow/sdk/go/bindings v0.0.0
	go.bytecodealliance.org/pkg v0.2.2
)
