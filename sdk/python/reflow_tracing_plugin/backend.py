"""What a plugin implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Optional
from uuid import UUID

from .batch import EventBatch
from .errors import Unsupported
from .model import EventPage, PageRequest, Stats, Trace, TracePage, TraceQuery


class StorageBackend(ABC):
    """A store for traces. Each instance of the plugin has one object. The host may run several instances concurrently, also on the
    same database, and may discard one at any time: keep nothing in memory that is not in the database.

    The methods mirror the functions of the contract, `wit/deps/storage/backend.wit`, which says what each must do. Raise a
    `StorageError` where a call fails. Any other exception is answered with its type, text and line, and logged with its traceback.
    """

    #: The plugin's name and version, as the host shows them.
    name: ClassVar[str]
    version: ClassVar[str] = "0.1.0"
    #: Features that later hosts may use. A host ignores unknown ones.
    features: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def __init__(self, config: Mapping[str, Any]) -> None:
        """Opens the store. `config` is the table `[plugins.NAME.config]` of the host's configuration."""

    @abstractmethod
    def store_traces(self, traces: Sequence[Trace]) -> None:
        """Stores headers, replacing earlier ones. Of several headers for one trace, the last one is stored."""

    @abstractmethod
    def store_events(self, events: EventBatch) -> None:
        """Stores events, which may belong to several traces. Changes nothing for those that are stored already. The batch is valid
        only during the call."""

    @abstractmethod
    def get_traces(self, ids: Sequence[UUID]) -> Sequence[Optional[bytes]]:
        """The bodies of the headers, in the order of the ids; `None` where no header is stored."""

    @abstractmethod
    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:
        """The headers that match, a page at a time."""

    @abstractmethod
    def get_events(self, trace_id: UUID, page: PageRequest) -> EventPage:
        """The events of a trace by ascending (timestamp, event id), a page at a time, also when the trace has no header."""

    def delete_traces(self, ids: Sequence[UUID]) -> int:
        """Deletes traces with their events. Returns how many existed."""
        raise Unsupported("this plugin does not delete traces")

    @abstractmethod
    def get_stats(self) -> Stats:
        """What the store holds."""

    @abstractmethod
    def health_check(self) -> None:
        """Checks that the plugin can work now. Reaches everything that a write needs, and changes nothing."""

    def maintain(self) -> None:
        """Work that the store needs from time to time; see `export_maintenance`."""

    def drop_oldest(self, ended_by: int) -> int:
        """Drops the oldest partition that holds traces, with their events, if every trace in it started before this time, in
        nanoseconds since 1970; see `export_expiry`. Returns how many traces it held, 0 when none is left."""
        raise Unsupported("this plugin has no partitions")
