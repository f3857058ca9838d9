"""A storage plugin for reflow-tracing: traces in a Redis server, 6.2 or newer, that the operator grants under the label `default`.

`wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: the plugin stores and returns a `body` unchanged, and
searches by the fields beside it. `layout.py` describes the keys, `search.py` finds traces.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Optional
from uuid import UUID

import layout
import search
from header import pack
from reflow_tracing_plugin import (
    EventBatch,
    EventPage,
    InvalidArgument,
    PageRequest,
    Stats,
    StorageBackend,
    StorageError,
    Trace,
    TracePage,
    TraceQuery,
    export,
)
from reflow_tracing_plugin.redis import Command, Connection, Reply

#: Traces that are counted in one round trip.
COUNTED = 500


class Store(StorageBackend):
    name = "{{name}}"

    def __init__(self, config: Mapping[str, Any]) -> None:
        # Refuse unknown settings, so that a misspelt one is noticed.
        if config:
            raise InvalidArgument(f"this plugin has no settings, but was given {', '.join(config)}")
        self.server = Connection.open("default")

    def store_traces(self, traces: Sequence[Trace]) -> None:
        # Of several headers for one trace, the last one is stored.
        latest = {trace.trace_id: trace for trace in traces}
        commands: list[Command] = []
        for trace, earlier in zip(latest.values(), search.headers(self.server, list(latest))):
            if earlier is not None and earlier.start_time != trace.start_time:
                commands += layout.unlists(earlier.start_time, trace.trace_id)
            commands += layout.lists(trace.start_time, trace.trace_id)
            commands.append(("ZADD", "traces", 0, trace.trace_id))
            commands.append(("SET", layout.header(trace.trace_id), pack(trace)))
        # All or nothing. When two instances replace one header at a time, an old place may be left over; `search.walk` ignores it.
        self.transaction(commands)

    def store_events(self, events: EventBatch) -> None:
        # The rows never enter this plugin: the host makes the commands of each event. One that is stored already is skipped.
        self.server.pipeline_batch(layout.STORE_EVENT, events, unless=layout.IS_STORED)

    def get_traces(self, ids: Sequence[UUID]) -> Sequence[Optional[bytes]]:
        return [None if trace is None else trace.body for trace in search.headers(self.server, ids)]

    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:
        return search.run(self.server, query, page)

    def get_events(self, trace_id: UUID, page: PageRequest) -> EventPage:
        after = search.checked(page.token)
        least = b"-" if after is None else b"(" + after
        # Redis takes no larger offset. One more than requested shows that there is a next page.
        offset, limit = min(page.offset, 2**63 - 1), page.limit + 1
        places = search.listed(self.server, layout.events(trace_id), least, b"+", offset, limit)
        shown = places[: page.limit]
        if not shown:
            return EventPage(EventBatch())
        # The host makes the batch, and takes it back as it is.
        events = self.server.query_events([("HMGET", layout.bodies(trace_id), *shown)])
        return EventPage(events, shown[-1] if len(places) > len(shown) and len(events) else None)

    def delete_traces(self, ids: Sequence[UUID]) -> int:
        return sum(self.delete(trace_id) for trace_id in dict.fromkeys(ids))

    def delete(self, trace_id: UUID) -> bool:
        """Deletes a trace. Returns whether it existed."""
        (stored,) = search.headers(self.server, [trace_id])
        commands: list[Command] = [
            ("DEL", layout.header(trace_id), layout.events(trace_id)),
            ("DEL", layout.bodies(trace_id), layout.about(trace_id)),
            ("ZREM", "traces", trace_id),
        ]
        if stored is not None:
            commands += layout.unlists(stored.start_time, trace_id)
        return self.transaction(commands)[0] != 0

    def transaction(self, commands: Sequence[Command]) -> list[Reply]:
        """Runs all of the commands, or none."""
        replies = self.server.atomically({}, commands) or []
        for reply in replies:
            if isinstance(reply, StorageError):
                raise reply
        return replies

    def get_stats(self) -> Stats:
        traces = events = 0
        least = b"-"
        while ids := search.listed(self.server, "traces", least, b"+", 0, COUNTED):
            uuids = [UUID(bytes=trace_id) for trace_id in ids]
            counts: list[Command] = [("EXISTS", *map(layout.header, uuids))]
            counts += [("ZCARD", layout.events(trace_id)) for trace_id in uuids]
            some, *others = [reply for reply in self.server.run(counts) if isinstance(reply, int)]
            traces += some
            events += sum(others)
            least = b"(" + ids[-1]
        return Stats(traces=traces, events=events, oldest=self.first(ascending=True), newest=self.first(ascending=False))

    def first(self, ascending: bool) -> Optional[int]:
        """The earliest or the latest start."""
        return next((found.trace.start_time for found in search.walk(self.server, TraceQuery(ascending=ascending))), None)

    def health_check(self) -> None:
        # Redis checks what a write needs, and then does not create the key.
        self.server.command("SETRANGE", "health", 0, "")


# The host calls the functions of this class.
Backend = export(Store)
