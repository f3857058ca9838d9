// Package metrics is the plugin's own metrics, exported with the host's.
//
// A name consists of lower-case letters, digits and `_`, and begins with a letter. A plugin can have 100 names, each of one kind.
package metrics

import bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_metrics"

// Count adds to a counter.
func Count(name string, by uint64) { bindings.Count(name, by) }

// Gauge sets a gauge.
func Gauge(name string, value float64) { bindings.Gauge(name, value) }

// Observe adds an observation to a histogram, for example a duration in seconds.
func Observe(name string, value float64) { bindings.Observe(name, value) }
