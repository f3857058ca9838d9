"""Keys that sort like the values that they are made of."""

from __future__ import annotations

_SIGN = 1 << 63


def sortable(number: int) -> bytes:
    """8 bytes that sort like the signed 64-bit integer: big-endian, with the sign bit flipped. `keyvalue.Sortable` writes the same."""
    if not -_SIGN <= number < _SIGN:
        raise OverflowError(f"{number} is not a signed 64-bit integer")
    return (number + _SIGN).to_bytes(8, "big")


def number_of(key: bytes) -> int:
    """The integer of these 8 bytes."""
    if len(key) != 8:
        raise ValueError(f"a sortable integer has 8 bytes, not {len(key)}")
    return int.from_bytes(key, "big") - _SIGN
