"""A storage plugin for reflow-tracing: traces in a bucket of keys and values that the operator grants under the label `default`.

`wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: the plugin stores and returns a `body` unchanged, and
searches by the fields beside it. `layout.py` says where things are in the bucket, `search.py` finds traces.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Optional
from uuid import UUID

import search
from header import pack, unpack
from layout import ACTOR, ERROR, EVENT, KIND, of_start, of_trace
from reflow_tracing_plugin import (
    EventBatch,
    EventPage,
    Exhausted,
    InvalidArgument,
    PageRequest,
    Stats,
    StorageBackend,
    Trace,
    TracePage,
    TraceQuery,
    export,
)
from reflow_tracing_plugin.keyvalue import FETCH, Bucket, Change, Delete, Set

#: Keys that are deleted at once.
DELETED_AT_ONCE = 10_000


class Store(StorageBackend):
    name = "keyvalue-python"

    def __init__(self, config: Mapping[str, Any]) -> None:
        # Refuse unknown settings, so that a misspelt one is noticed.
        if config:
            raise InvalidArgument(f"this plugin has no settings, but was given {', '.join(config)}")
        self.bucket = Bucket.open("default")

    def store_traces(self, traces: Sequence[Trace]) -> None:
        latest = {trace.trace_id: trace for trace in traces}
        earlier = search.read(self.bucket, [of_trace(b"h", trace_id) for trace_id in latest])
        changes: list[Change] = []
        for trace, value in zip(latest.values(), earlier):
            if value is not None:
                changes.append(Delete(of_start(unpack(trace.trace_id, value).start_time, trace.trace_id)))
            changes.append(Set(of_start(trace.start_time, trace.trace_id), b""))
            changes.append(Set(of_trace(b"h", trace.trace_id), pack(trace)))
        # All or none, so the key of a header among the start times is there whenever the header is.
        self.bucket.apply(changes)

    def store_events(self, events: EventBatch) -> None:
        # The rows never enter this plugin: the host makes the keys and values of each event.
        try:
            self.bucket.insert_batch([EVENT, ACTOR, KIND, ERROR], events)
        except Exhausted:
            # The id of an actor is too long for a key. A search for actors reads the events of these traces.
            self.bucket.apply(Set(of_trace(b"A", trace_id), b"") for trace_id in set(events.column("trace-id")))
            self.bucket.insert_batch([EVENT, KIND, ERROR], events)

    def get_traces(self, ids: Sequence[UUID]) -> Sequence[Optional[bytes]]:
        values = search.read(self.bucket, [of_trace(b"h", trace_id) for trace_id in ids])
        return [None if value is None else unpack(trace_id, value).body for trace_id, value in zip(ids, values)]

    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:
        return search.run(self.bucket, query, page)

    def get_events(self, trace_id: UUID, page: PageRequest) -> EventPage:
        prefix = of_trace(b"e", trace_id)
        cursor, skip = page.token, page.offset
        while skip:
            skipped, cursor = self.bucket.event_page(prefix, cursor, min(skip, FETCH))
            skip -= len(skipped)
            if cursor is None:
                return EventPage(EventBatch())
        # The host makes the batch, and takes it back as it is.
        events, following = self.bucket.event_page(prefix, cursor, page.limit)
        return EventPage(events, following)

    def delete_traces(self, ids: Sequence[UUID]) -> int:
        return sum(self.delete(trace_id) for trace_id in dict.fromkeys(ids))

    def delete(self, trace_id: UUID) -> bool:
        """Deletes a trace. Returns whether it existed."""
        header = self.bucket.get(of_trace(b"h", trace_id))
        changes: list[Change] = []
        # The header goes first: no query finds a trace of which a part is deleted.
        if header is not None:
            changes.append(Delete(of_trace(b"h", trace_id)))
            changes.append(Delete(of_start(unpack(trace_id, header).start_time, trace_id)))
        existed = header is not None
        for kind in (b"e", b"a", b"A", b"k", b"x"):
            for key in self.bucket.keys(of_trace(kind, trace_id)):
                existed = existed or kind == b"e"
                changes.append(Delete(key))
                if len(changes) == DELETED_AT_ONCE:
                    self.bucket.apply(changes)
                    changes = []
        self.bucket.apply(changes)
        return existed

    def get_stats(self) -> Stats:
        def first(ascending: bool) -> Optional[int]:
            found = search.matches(self.bucket, TraceQuery(ascending=ascending), None, 1)
            return next((trace.start_time for _, trace in found), None)

        return Stats(
            traces=self.bucket.count(b"h"),
            events=self.bucket.count(b"e"),
            oldest=first(ascending=True),
            newest=first(ascending=False),
        )

    def health_check(self) -> None:
        self.bucket.get(b"h")


# The host calls the functions of this class.
Backend = export(Store)
