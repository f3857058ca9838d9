// Package secrets is secrets that the operator has granted, by label. Read a secret each time it is needed, because the
// operator may replace it.
package secrets

import (
	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_secrets"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// Get is the current value of the secret.
func Get(label string) ([]byte, error) {
	defer memory.Release()
	result := bindings.Get(label)
	if result.IsOk() {
		return result.Ok(), nil
	}
	if failed := result.Err(); failed.Tag() == bindings.SecretErrorNoSuchLabel {
		return nil, plugin.InvalidArgument(
			"no secret is granted under the label `%s`: add grants = { secrets = { %s = \"env:NAME\" } }", label, label)
	} else {
		return nil, plugin.Unavailable("%s", failed.Unavailable())
	}
}
