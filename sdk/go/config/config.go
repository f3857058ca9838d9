// Package config is the plugin's own settings: the table [plugins.NAME.config]. Open gets all of them, too.
package config

import (
	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_config"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
)

// Get is the setting as JSON, and whether it is set.
func Get(name string) (json string, set bool) {
	defer memory.Release()
	value := bindings.Get(name)
	return value.SomeOr(""), value.IsSome()
}

// Names is the names of the settings, in order.
func Names() []string {
	defer memory.Release()
	return bindings.Names()
}
