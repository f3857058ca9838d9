"""What the host fills in for each event, where a capability takes a batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A field of the event as text; `body` is its bytes."""

    name: str


@dataclass(frozen=True)
class Sortable:
    """A field of the event in bytes that sort like the value: a UUID as its 16 bytes, a number as `keys.sortable` writes it."""

    name: str


@dataclass(frozen=True)
class Present:
    """`1` when the event has a value in this field, `0` when it is absent."""

    name: str
