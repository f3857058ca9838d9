"""UUIDs, as the contract passes them: two halves of 64 bits."""

from __future__ import annotations

from typing import Any
from uuid import UUID

_HALF = (1 << 64) - 1


def joined(high: int, low: int) -> UUID:
    """The UUID of these halves."""
    return UUID(int=high << 64 | low)


def halves(uuid: UUID) -> tuple[int, int]:
    """The halves of this UUID."""
    return uuid.int >> 64, uuid.int & _HALF


def from_contract(uuid: Any) -> UUID:
    """The UUID of a record of the contract."""
    return joined(uuid.high, uuid.low)
