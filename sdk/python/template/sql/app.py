"""A storage plugin for reflow-tracing: traces in a SQLite database that the operator grants under the label `default`.

`wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: the plugin stores and returns a `body` unchanged, and
searches by the columns beside it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional
from uuid import UUID

import query as queries
from reflow_tracing_plugin import (
    EventBatch,
    EventPage,
    InvalidArgument,
    PageRequest,
    Stats,
    StorageBackend,
    Trace,
    TracePage,
    TraceQuery,
    Unsupported,
    export,
)
from reflow_tracing_plugin.sql import Connection, Field, Value

# Read when the plugin is built: the host has no such file.
SCHEMA = Path(__file__).with_name("schema.sql").read_text()

#: What the host binds for each event.
EVENT = [Field(name) for name in ("trace-id", "timestamp", "event-id", "event-type", "actor-id", "error", "body")]


class Store(StorageBackend):
    name = "{{name}}"

    def __init__(self, config: Mapping[str, Any]) -> None:
        # Refuse unknown settings, so that a misspelt one is noticed.
        if config:
            raise InvalidArgument(f"this plugin has no settings, but was given {', '.join(config)}")
        self.database = Connection.open("default")
        if self.database.dialect() != "sqlite":
            raise Unsupported("databases other than SQLite")
        # Several instances may do this at once.
        self.database.execute(SCHEMA)

    def store_traces(self, traces: Sequence[Trace]) -> None:
        # All or nothing: an exception rolls the transaction back.
        with self.database.begin() as transaction:
            for trace in traces:
                transaction.execute("DELETE FROM tag WHERE trace_id = ?", [trace.trace_id])
                tags = [(trace.trace_id, name, value) for name, value in trace.tags]
                transaction.execute_many("INSERT INTO tag VALUES (?, ?, ?)", tags)
                header: list[Value] = [
                    trace.trace_id,
                    trace.flow_id,
                    trace.execution_id,
                    trace.start_time,
                    trace.end_time,
                    trace.status.value,
                    trace.error,
                    trace.body,
                ]
                # A header that is stored again replaces the earlier one; the events stay.
                transaction.execute("INSERT OR REPLACE INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?)", header)

    def store_events(self, events: EventBatch) -> None:
        # The rows never enter this plugin: the host binds the fields of each event to the statement. Storing an event again changes
        # nothing.
        statement = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        self.database.insert_batch(statement, EVENT, events)

    def get_traces(self, ids: Sequence[UUID]) -> Sequence[Optional[bytes]]:
        # One answer for each id, in the order of the ids.
        return [self.body(trace_id) for trace_id in ids]

    def body(self, trace_id: UUID) -> Optional[bytes]:
        """The header of a trace."""
        rows = self.database.query("SELECT body FROM trace WHERE trace_id = ?", [trace_id])
        return next((body for (body,) in rows), None)

    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:
        statement, parameters = queries.select(query, page)
        rows = self.database.query(statement, parameters).all()
        bodies = [body for _, _, body in rows[: page.limit]]
        # The statement selects one row more than requested, which shows whether there is a next page.
        if len(rows) <= page.limit:
            return TracePage(bodies)
        time, trace_id, _ = rows[page.limit - 1]
        return TracePage(bodies, queries.token(time, trace_id))

    def get_events(self, trace_id: UUID, page: PageRequest) -> EventPage:
        # The earliest time and an empty id come before every event.
        time, event_id = (-(2**63), b"") if page.token is None else queries.place_of_token(page.token)
        # The host fills the batch from the column, so no event enters this plugin.
        events = self.database.query_events(
            "SELECT body FROM event WHERE trace_id = ? AND (timestamp, event_id) > (?, ?) "
            "ORDER BY timestamp, event_id LIMIT ? OFFSET ?",
            [trace_id, time, event_id, page.limit, queries.bounded(page.offset)],
        )
        if len(events) < page.limit:
            return EventPage(events)
        last = events.last()
        return EventPage(events, queries.token(last.timestamp, last.event_id.bytes))

    def delete_traces(self, ids: Sequence[UUID]) -> int:
        deleted = 0
        with self.database.begin() as transaction:
            for trace_id in ids:
                headers = transaction.execute("DELETE FROM trace WHERE trace_id = ?", [trace_id])
                events = transaction.execute("DELETE FROM event WHERE trace_id = ?", [trace_id])
                transaction.execute("DELETE FROM tag WHERE trace_id = ?", [trace_id])
                deleted += headers + events > 0
        return deleted

    def get_stats(self) -> Stats:
        statement = "SELECT count(*), (SELECT count(*) FROM event), min(start_time), max(start_time) FROM trace"
        ((traces, events, oldest, newest),) = self.database.query(statement)
        return Stats(traces=traces, events=events, oldest=oldest, newest=newest)

    def health_check(self) -> None:
        # Takes the lock that a write needs, and releases it.
        with self.database.begin() as transaction:
            transaction.query("SELECT 1 FROM trace LIMIT 1").all()


# The host calls the functions of this class.
Backend = export(Store)
