// Package export_reflow_storage_expiry is what the generated exports call: a variable that package plugin sets.
package export_reflow_storage_expiry

import (
	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_types"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// DropOldest is the function of the interface `expiry`.
var DropOldest func(int64) witTypes.Result[uint64, reflow_storage_types.StorageError]
