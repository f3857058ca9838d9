"""The functions that the host calls."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Optional, TypeVar

from . import log
from .backend import StorageBackend
from .batch import EventBatch
from .bindings import generated, imported
from .errors import Conflict, Exhausted, InvalidArgument, NotFound, StorageError, Unavailable, Unsupported
from .model import EventPage, PageRequest, Stats, Status, Trace, TracePage, TraceQuery
from .uuids import from_contract

_types = imported("types", "storage")
_backend = generated("wit_world.exports.backend")
_Err = generated("componentize_py_types")

_Answer = TypeVar("_Answer")
_logger = logging.getLogger("reflow_tracing_plugin")



class _Instance:
    """The backend of this instance of the plugin."""

    backend: Optional[StorageBackend] = None
    #: The folder of the plugin's modules.
    folder: str = ""

    @classmethod
    def opened(cls) -> StorageBackend:
        if cls.backend is None:
            raise StorageError("called before it was opened")
        return cls.backend


def export(backend: type[StorageBackend]) -> type:
    """The class that a plugin exports as `Backend` from its module `app`."""
    _Instance.folder = os.path.dirname(getattr(sys.modules[backend.__module__], "__file__", ""))

    class Exported:
        def open(self, config: str) -> Any:
            log.install()

            def opened() -> Any:
                if _Instance.backend is not None:
                    raise StorageError("opened twice")
                _Instance.backend = backend(json.loads(config))
                return _backend.Info(backend.name, backend.version, list(backend.features))

            return _answer(opened)

        def store_traces(self, traces: list[Any]) -> None:
            _answer(lambda: _Instance.opened().store_traces([_trace(trace) for trace in traces]))

        def store_events(self, events: Any) -> None:
            # The generated code drops the borrowed handle, also after an error.
            _answer(lambda: _Instance.opened().store_events(EventBatch.of_handle(events)))

        def get_traces(self, ids: list[Any]) -> list[Optional[bytes]]:
            return _answer(lambda: list(_Instance.opened().get_traces([from_contract(id) for id in ids])))

        def query_traces(self, query: Any, page: Any) -> Any:
            def answer() -> Any:
                found = _Instance.opened().query_traces(_query(query), _page(page))
                return _types.TracePage(list(found.bodies), found.next)

            return _answer(answer)

        def get_events(self, trace_id: Any, page: Any) -> Any:
            def answer() -> Any:
                found = _Instance.opened().get_events(from_contract(trace_id), _page(page))
                return _backend.EventPage(found.events.handle, found.next)

            return _answer(answer)

        def delete_traces(self, ids: list[Any]) -> int:
            return _answer(lambda: _Instance.opened().delete_traces([from_contract(id) for id in ids]))

        def get_stats(self) -> Any:
            def answer() -> Any:
                stats = _Instance.opened().get_stats()
                return _types.Stats(stats.traces, stats.events, stats.bytes, stats.oldest, stats.newest)

            return _answer(answer)

        def health_check(self) -> None:
            _answer(lambda: _Instance.opened().health_check())

    return Exported


def export_maintenance() -> type:
    """The class that a plugin exports as `Maintenance`, if `wit/world.wit` has `export reflow:storage/maintenance@0.1.1;`: the host
    then calls `StorageBackend.maintain` about once a minute."""

    class Exported:
        def maintain(self) -> None:
            _answer(lambda: _Instance.opened().maintain())

    return Exported


def export_expiry() -> type:
    """The class that a plugin exports as `Expiry`, if `wit/world.wit` has `export reflow:storage/expiry@0.1.1;`: the host then calls
    `StorageBackend.drop_oldest` before it deletes old traces one by one."""

    class Exported:
        def drop_oldest(self, ended_by: int) -> int:
            return _answer(lambda: _Instance.opened().drop_oldest(ended_by))

    return Exported


def _answer(call: Callable[[], _Answer]) -> _Answer:
    """What the call returns, or its exception as an error of the contract."""
    try:
        return call()
    except StorageError as error:
        failure = error
    except MemoryError:
        # A trap, after which the host makes a new instance.
        raise
    except Exception as error:
        # The host writes a message on one line.
        lines = "".join(traceback.format_exception(error)).splitlines()
        _logger.error("%s", " / ".join(line.strip() for line in lines))
        failure = StorageError(described(error, _Instance.folder))
    raise _Err.Err(to_contract(failure))


def described(error: BaseException, folder: str) -> str:
    """The type and text of an exception, and the line of the plugin, whose modules are in `folder`, that it comes from."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if os.path.dirname(frame.filename) == folder]
    if not own:
        return text
    frame = own[-1]
    return f"{text} ({os.path.basename(frame.filename)}, line {frame.lineno}, in {frame.name})"


def to_contract(error: StorageError) -> Any:
    """The error as the contract has it."""
    cases = {
        InvalidArgument: "InvalidArgument",
        NotFound: "NotFound",
        Conflict: "Conflict",
        Unavailable: "Unavailable",
        Exhausted: "Exhausted",
        Unsupported: "Unsupported",
    }
    # The classes of authors may derive from these.
    for base in type(error).__mro__:
        if base in cases:
            return getattr(_types, f"StorageError_{cases[base]}")(error.message)
    return _types.StorageError_Other(_types.Failure(error.message, error.retryable))


def _status(status: Any) -> Status:
    return Status[status.name]


def _trace(trace: Any) -> Trace:
    return Trace(
        from_contract(trace.trace_id),
        trace.flow_id,
        from_contract(trace.execution_id),
        trace.start_time,
        trace.end_time,
        _status(trace.status),
        trace.error,
        trace.tags,
        trace.body,
    )


def _query(query: Any) -> TraceQuery:
    return TraceQuery(
        flow_id=query.flow_id,
        execution_id=None if query.execution_id is None else from_contract(query.execution_id),
        start_from=query.start_from,
        start_to=query.start_to,
        status=None if query.status is None else _status(query.status),
        error=query.error,
        actor=query.actor,
        event_types=query.event_types,
        tags=query.tags,
        min_duration=query.min_duration,
        max_duration=query.max_duration,
        has_error=query.has_error,
        ascending=query.ascending,
        more=query.more,
    )


def _page(page: Any) -> PageRequest:
    return PageRequest(page.limit, page.offset, page.token)
