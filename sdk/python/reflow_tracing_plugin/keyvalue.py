"""Ordered buckets of keys and values that the operator has granted, by label. A key has at most 1 KiB, a value at most 16 MiB.

    bucket = Bucket.open()
    bucket.set(b"visits", b"1")
    bucket.apply([Delete(key) for key in bucket.keys(b"old/")])
"""

# mypy: disable-error-code="no-any-return"
# What the host returns has the type that the contract gives it.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional, Union

from .batch import EventBatch
from .bindings import imported
from .capability import raising
from .errors import Exhausted, InvalidArgument, StorageError, Unavailable
from .parts import Field as Field
from .parts import Present as Present
from .parts import Sortable as Sortable

_keyvalue = imported("keyvalue")

#: Entries per call: a compromise between the number of calls and the memory.
FETCH = 1_000


class Set(NamedTuple):
    """Sets a value."""

    key: bytes
    value: bytes


class Delete(NamedTuple):
    """Deletes a key."""

    key: bytes


Change = Union[Set, Delete]

Part = Union[bytes, Field, Sortable, Present]


class EventEntry(NamedTuple):
    """An entry for each event of a batch: the parts of its key and of its value, which are joined. Bytes stand for themselves."""

    key: Sequence[Part]
    value: Sequence[Part] = ()


class Bucket:
    """Keys in the order of their bytes, each with a value. Its methods raise a `StorageError` where the bucket fails.

    Values that are set last for `ttl_ms` milliseconds if that is given.
    """

    def __init__(self, handle: Any) -> None:
        """The bucket behind a handle of the generated bindings; see `open`."""
        self._handle = handle

    @classmethod
    def open(cls, label: str = "default") -> Bucket:
        """The bucket that the operator granted under `label`."""
        with raising(_error):
            return cls(_keyvalue.Bucket.open(label))

    def get(self, key: bytes) -> Optional[bytes]:
        """The value of a key."""
        with raising(_error):
            return self._handle.get(key)

    def get_many(self, keys: Iterable[bytes]) -> list[Optional[bytes]]:
        """The values of several keys at one moment, in the order of the keys."""
        with raising(_error):
            return self._handle.get_many(list(keys))

    def set(self, key: bytes, value: bytes, ttl_ms: Optional[int] = None) -> None:
        """Sets a value."""
        with raising(_error):
            self._handle.set(key, value, ttl_ms)

    def delete(self, key: bytes) -> bool:
        """Deletes a key. Returns whether it existed."""
        with raising(_error):
            return self._handle.delete(key)

    def apply(self, changes: Iterable[Change], ttl_ms: Optional[int] = None) -> None:
        """Applies all changes or none, in order."""
        with raising(_error):
            self._handle.apply([_change(change) for change in changes], ttl_ms)

    def compare_and_set(
        self, key: bytes, expected: Optional[bytes], new: Optional[bytes], ttl_ms: Optional[int] = None
    ) -> bool:
        """Sets `new`, or deletes when it is `None`, if the current value is `expected` (`None`: the key does not exist). Returns
        whether it was."""
        with raising(_error):
            return self._handle.compare_and_set(key, expected, new, ttl_ms)

    def count(self, prefix: bytes = b"") -> int:
        """How many keys begin with `prefix`. The cost grows with their number."""
        with raising(_error):
            return self._handle.count(prefix)

    def page(
        self, prefix: bytes, cursor: Optional[bytes] = None, limit: int = FETCH, reverse: bool = False
    ) -> tuple[list[tuple[bytes, bytes]], Optional[bytes]]:
        """Entries whose keys begin with `prefix`, after `cursor`, and the cursor of the next page. A page may be short, even empty,
        although others follow: only a cursor of `None` ends the listing."""
        with raising(_error):
            page = self._handle.scan(prefix, cursor, limit, reverse)
        return [(entry.key, entry.value) for entry in page.entries], page.next

    def entries(self, prefix: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """All entries whose keys begin with `prefix`, in order, fetched as they are needed."""
        cursor = None
        while True:
            entries, cursor = self.page(prefix, cursor, FETCH, reverse)
            yield from entries
            if cursor is None:
                return

    def keys(self, prefix: bytes, limit: int = FETCH) -> Iterator[bytes]:
        """All keys that begin with `prefix`, in order, fetched as they are needed, `limit` at a time."""
        cursor = None
        while True:
            with raising(_error):
                page = self._handle.list_keys(prefix, cursor, limit)
            yield from page.keys
            cursor = page.next
            if cursor is None:
                return

    def insert_batch(self, entries: Iterable[EventEntry], events: EventBatch, ttl_ms: Optional[int] = None) -> int:
        """Sets the entries of each event of the batch, all or none; the events never enter the plugin. An event is skipped when the
        key of its first entry exists, or an earlier event of the batch has the same one. Returns how many were not skipped."""
        templates = [
            _keyvalue.EventEntry([_part(part) for part in entry.key], [_part(part) for part in entry.value])
            for entry in entries
        ]
        with raising(_error):
            return self._handle.insert_batch(templates, events.handle, ttl_ms)

    def event_page(
        self, prefix: bytes, cursor: Optional[bytes] = None, limit: int = FETCH, reverse: bool = False
    ) -> tuple[EventBatch, Optional[bytes]]:
        """Entries as in `page`, whose values are bodies of events. The events never enter the plugin."""
        with raising(_error):
            page = self._handle.scan_events(prefix, cursor, limit, reverse)
        return EventBatch.of_handle(page.events), page.next


def _change(change: Change) -> Any:
    if isinstance(change, Set):
        return _keyvalue.Change_Set(_keyvalue.Entry(change.key, change.value))
    return _keyvalue.Change_Delete(change.key)


def _part(part: Part) -> Any:
    if isinstance(part, bytes):
        return _keyvalue.Part_Fixed(part)
    cases = {Field: _keyvalue.Part_Field, Sortable: _keyvalue.Part_Sortable, Present: _keyvalue.Part_Present}
    return cases[type(part)](part.name)


def _error(case: str, value: Any) -> StorageError:
    if case == "NoSuchLabel":
        return InvalidArgument(f'no bucket is granted under the label `{value}`: add grants = {{ keyvalue = {{ {value} = ".." }} }}')
    if case in ("InvalidArgument", "AccessDenied"):
        return InvalidArgument(value)
    if case == "Timeout":
        return Unavailable("the bucket did not answer in time")
    if case == "Unavailable":
        return Unavailable(value)
    if case == "LimitExceeded":
        return Exhausted(value)
    return StorageError(value)
