// Package memory collects garbage at moments that are safe in a plugin.
//
// The host allocates in the plugin while it passes arguments and results. A collection that ends within such an allocation
// traps. So the collector never starts by itself: this package starts it, between two allocations of the host.
package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	witRuntime "go.bytecodealliance.org/pkg/wit/runtime"
)

// threshold is how many bytes may be allocated between two collections.
const threshold = 32 << 20

var sample = []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}

// collected is how many bytes had been allocated when the last collection ended.
var collected uint64

func init() { debug.SetGCPercent(-1) }

// Release ends the host's hold on what it has allocated, and collects garbage when much has been allocated. Call it when
// everything that a host function returned is in Go's variables.
func Release() {
	witRuntime.Unpin()
	metrics.Read(sample)
	if allocated := sample[0].Value.Uint64(); allocated-collected > threshold {
		runtime.GC()
		collected = allocated
	}
}
