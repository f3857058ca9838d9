module {{name}}

go 1.25

require (
	github.com/offbit-ai/reflow/sdk/go v0.0.0
	github.com/offbit-ai/reflow/sdk/go/bindings v0.0.0
	go.bytecodealliance.org/pkg v0.2.2
)

// The SDK is a copy in this folder; `reflow-tracing plugin build` writes the bindings.
replace (
	github.com/offbit-ai/reflow/sdk/go => ./sdk
	github.com/offbit-ai/reflow/sdk/go/bindings => ./bindings
	go.bytecodealliance.org/pkg => ./sdk/pkg
)
