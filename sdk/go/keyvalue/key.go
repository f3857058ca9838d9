package keyvalue

import "github.com/offbit-ai/reflow/sdk/go/plugin"

// Sort is 8 bytes that sort like the number: see [plugin.Sort].
func Sort(number int64) []byte { return plugin.Sort(number) }

// Unsort is the number of 8 such bytes.
func Unsort(bytes []byte) int64 { return plugin.Unsort(bytes) }

// Key joins parts of a key.
func Key(parts ...[]byte) []byte { return plugin.Key(parts...) }
