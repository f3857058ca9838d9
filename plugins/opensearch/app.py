"""A storage plugin for OpenSearch: traces as documents of two indexes; `indexes.py` has their fields.

A write of events goes to the documents of the events, and then to that of the trace, which has what a query for traces asks about events.
Both are done when the write is acknowledged. `README.md` has the settings.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Optional
from uuid import UUID

import documents
import indexes
import removal
import search
import summary
from client import Action, Client
from reflow_tracing_plugin import (
    Conflict,
    EventBatch,
    EventPage,
    Exhausted,
    PageRequest,
    Stats,
    StorageBackend,
    StorageError,
    Trace,
    TracePage,
    TraceQuery,
    Unavailable,
    export,
)
from settings import Settings

#: Attempts of OpenSearch itself, and then of this plugin, to replace a header that others change too.
TRIES = 5


class OpenSearch(StorageBackend):
    name = "opensearch"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.settings = Settings.read(config)
        self.client = Client(self.settings)
        indexes.ready(self.client)

    def store_traces(self, traces: Sequence[Trace]) -> None:
        # The last header of a trace wins. What is known about its events stays: the fields of the header are merged into the document.
        left = {trace.trace_id.hex: documents.header(trace) for trace in traces}
        for _ in range(TRIES):
            actions = [
                Action(
                    "update",
                    {"_index": self.settings.traces, "_id": id, "retry_on_conflict": TRIES},
                    {"doc": header, "doc_as_upsert": True},
                )
                for id, header in left.items()
            ]
            statuses = self.client.bulk(actions, summary.OVERTAKEN)
            left = {id: header for (id, header), status in zip(left.items(), statuses) if status >= 300}
            if not left:
                return
        raise Conflict(f"other writers changed {len(left)} headers in {self.settings.traces} at the same time")

    def store_events(self, events: EventBatch) -> None:
        writes = documents.events(self.settings, events)
        # An event that is stored already is left as it is.
        statuses = self.client.bulk(writes, documents.STORED)
        sources = [write.source for write, status in zip(writes, statuses) if status < 300]
        # A call that was interrupted may have stored it without its summary. It counts as it was stored then.
        stored = [write.target for write, status in zip(writes, statuses) if status >= 300]
        found = self.client.get_many(self.settings.events, stored, summary.OF_EVENT)
        sources += [document["_source"] for document in found if document["found"]]
        summary.store(self.client, summary.of_events(sources))

    def get_traces(self, ids: Sequence[UUID]) -> Sequence[Optional[bytes]]:
        found = self.client.get_many(self.settings.traces, [{"_id": id.hex} for id in ids], ["body"])
        bodies = [document["_source"].get("body") if document["found"] else None for document in found]
        return [None if body is None else b64decode(body) for body in bodies]

    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:
        return search.traces(self.client, query, page)

    def get_events(self, trace_id: UUID, page: PageRequest) -> EventPage:
        bodies, following = search.events(self.client, trace_id, page)
        return EventPage(EventBatch(bodies), following)

    def delete_traces(self, ids: Sequence[UUID]) -> int:
        return removal.delete(self.client, list(dict.fromkeys(id.hex for id in ids))) if ids else 0

    def get_stats(self) -> Stats:
        sizes = self.client.call("GET", f"/{self.settings.traces},{self.settings.events}/_stats/store")
        return Stats(
            traces=self.client.count(self.settings.traces, search.HEADER),
            events=self.client.count(self.settings.events, {"match_all": {}}),
            bytes=sizes["_all"]["total"]["store"]["size_in_bytes"],
            oldest=search.outermost(self.client, ascending=True),
            newest=search.outermost(self.client, ascending=False),
        )

    def health_check(self) -> None:
        names = f"{self.settings.traces},{self.settings.events}"
        if self.client.call("GET", f"/_cluster/health/{names}", timeout="1s")["status"] == "red":
            raise Unavailable(f"a shard of {names} is missing: the health of the cluster is red")
        for index, found in self.client.call("GET", f"/{names}/_settings/index.blocks.*", flat_settings="true").items():
            blocks = sorted(name for name, value in found["settings"].items() if value == "true")
            if "index.blocks.read_only_allow_delete" in blocks:
                raise Exhausted(f"the disk of OpenSearch is too full to write to {index}: it set index.blocks.read_only_allow_delete")
            if blocks:
                raise StorageError(f"writes to {index} are blocked by {', '.join(blocks)}: set it to false")


# The host calls the functions of this class.
Backend = export(OpenSearch)
