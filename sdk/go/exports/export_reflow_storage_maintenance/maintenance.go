// Package export_reflow_storage_maintenance is what the generated exports call: a variable that package plugin sets.
package export_reflow_storage_maintenance

import (
	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_types"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Maintain is the function of the interface `maintenance`.
var Maintain func() witTypes.Result[witTypes.Unit, reflow_storage_types.StorageError]
