package plugin

import (
	"bytes"
	"encoding/binary"
)

// Sort is 8 bytes that sort like the number: big-endian, with the sign bit flipped.
func Sort(number int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(number)^1<<63) }

// Unsort is the number of 8 such bytes.
func Unsort(bytes []byte) int64 { return int64(binary.BigEndian.Uint64(bytes) ^ 1<<63) }

// Key joins parts of a key.
func Key(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
