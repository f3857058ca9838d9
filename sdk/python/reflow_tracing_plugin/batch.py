"""Batches of events, whose rows stay in the host."""

# mypy: disable-error-code="no-any-return"
# What the host returns has the type that the contract gives it.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Optional
from uuid import UUID

from .bindings import imported
from .errors import StorageError
from .model import Event
from .uuids import from_contract, joined

_batch = imported("batch", "storage")

#: Records per call: a compromise between the number of calls and the memory.
_FETCH = 1_000


class EventBatch:
    """An ordered batch of events. It is cheapest to pass it on to a capability, such as `keyvalue.Bucket.insert_batch`: its rows
    then never enter the plugin. Columns are next, then records.

    The fields are listed in `wit/deps/storage/batch.wit`.
    """

    def __init__(self, bodies: Iterable[bytes] = ()) -> None:
        """A batch with the events of these bodies, for an answer."""
        self._handle: Any = _batch.EventBatch()
        pieces = list(bodies)
        if pieces:
            blobs = _batch.Blobs(b"".join(pieces), list(accumulate(map(len, pieces))))
            _checked(self._handle.push, blobs)

    @classmethod
    def of_handle(cls, handle: Any) -> EventBatch:
        """The batch behind a handle of the generated bindings."""
        batch = cls.__new__(cls)
        batch._handle = handle
        return batch

    @property
    def handle(self) -> Any:
        """Its handle, for the generated bindings."""
        return self._handle

    def __len__(self) -> int:
        return self._handle.len()

    def columns(self, *fields: str) -> list[list[Any]]:
        """The values of each field, one per event: UUIDs, integers, texts or bytes. An absent value is zero or empty."""
        return [_values(column) for column in _checked(self._handle.columns, list(fields))]

    def column(self, field: str) -> list[Any]:
        """The values of a field, one per event."""
        return self.columns(field)[0]

    def rows(self, *fields: str) -> Iterator[tuple[Any, ...]]:
        """The values of these fields, event by event."""
        return zip(*self.columns(*fields))

    def present(self, field: str) -> list[bool]:
        """Which events have a value in the field."""
        return _checked(self._handle.present, field)

    def optional(self, field: str) -> list[Optional[Any]]:
        """The values of a field, one per event; `None` where it is absent."""
        return [value if is_there else None for value, is_there in zip(self.column(field), self.present(field))]

    def __iter__(self) -> Iterator[Event]:
        """The events as records."""
        offset = 0
        while events := self._handle.events(offset, _FETCH):
            offset += len(events)
            for event in events:
                yield Event(
                    from_contract(event.trace_id),
                    from_contract(event.event_id),
                    event.timestamp,
                    event.event_type,
                    event.actor_id,
                    event.error,
                    event.body,
                )


def _checked(call: Any, argument: Any) -> Any:
    """Calls a function of the batch, whose error is a text."""
    try:
        return call(argument)
    except Exception as error:
        text = getattr(error, "value", None)
        if isinstance(text, str):
            raise StorageError(text) from None
        raise


def _values(column: Any) -> list[Any]:
    kind = type(column).__name__
    if kind == "Column_Uuids":
        return uuids(column.value)
    if kind == "Column_Texts":
        return texts(column.value.text, column.value.ends)
    if kind == "Column_Blobs":
        return slices(column.value.data, column.value.ends)
    return column.value


def uuids(halves: Sequence[int]) -> list[UUID]:
    """The UUIDs of their halves, high and low in turn."""
    return [joined(high, low) for high, low in zip(halves[::2], halves[1::2])]


def slices(data: Any, ends: Sequence[int]) -> list[Any]:
    """The parts of `data` that end there."""
    parts = []
    start = 0
    for end in ends:
        parts.append(data[start:end])
        start = end
    return parts


def texts(text: str, ends: Sequence[int]) -> list[str]:
    """The parts of a text that end there, counted in bytes."""
    if text.isascii():
        return slices(text, ends)
    return [part.decode() for part in slices(text.encode(), ends)]
