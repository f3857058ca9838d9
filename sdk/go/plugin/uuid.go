package plugin

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// UUID is a UUID as its 16 bytes, which sort like the UUID.
type UUID [16]byte

// UUIDOf makes a UUID of its two big-endian halves.
func UUIDOf(high, low uint64) (id UUID) {
	binary.BigEndian.PutUint64(id[:8], high)
	binary.BigEndian.PutUint64(id[8:], low)
	return id
}

// Halves are the two big-endian halves.
func (id UUID) Halves() (high, low uint64) {
	return binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
}

// String is the hyphenated form.
func (id UUID) String() string {
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// ParseUUID reads the hyphenated form.
func ParseUUID(text string) (id UUID, err error) {
	invalid := fmt.Errorf("%q is not a UUID: expected 8-4-4-4-12 hexadecimal digits", text)
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, invalid
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return UUID{}, invalid
	}
	return id, nil
}
