"""Queries for traces as SQL, and page tokens."""

from typing import Optional

from reflow_tracing_plugin import InvalidArgument, PageRequest, TraceQuery, Unsupported
from reflow_tracing_plugin.keys import number_of, sortable
from reflow_tracing_plugin.sql import Value

HAS_EVENT = "EXISTS (SELECT 1 FROM event e WHERE e.trace_id = trace.trace_id AND"
HAS_TAG = "EXISTS (SELECT 1 FROM tag t WHERE t.trace_id = trace.trace_id AND name = ? AND value = ?)"
FAILED = f"(status = 'Failed' OR {HAS_EVENT} (e.kind = 'ActorFailed' OR e.error IS NOT NULL)))"


def select(query: TraceQuery, page: PageRequest) -> tuple[str, list[Value]]:
    """The statement for a page, with its parameters: start time, id and body of the traces on it, and of one more."""
    # A later host may send a predicate that this plugin does not know. Ignoring it would give a wrong answer.
    if query.more:
        raise Unsupported(f"this plugin does not know the predicates {', '.join(name for name, _ in query.more)}")
    conditions = ["true"]
    parameters: list[Value] = []
    # All predicates that are present must hold.
    simple: list[tuple[str, Optional[Value]]] = [
        ("flow_id = ?", query.flow_id),
        ("execution_id = ?", query.execution_id),
        ("start_time >= ?", query.start_from),
        ("start_time <= ?", query.start_to),
        ("status = ?", query.status and query.status.value),
        ("trace.error = ?", query.error),
        (f"{HAS_EVENT} instr(e.actor, ?) > 0)", query.actor),
        ("end_time - start_time >= ?", query.min_duration),
        ("end_time - start_time <= ?", query.max_duration),
    ]
    for condition, value in simple:
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    if query.event_types is not None:
        places = ", ".join("?" * len(query.event_types))
        conditions.append(f"{HAS_EVENT} e.kind IN ({places}))")
        parameters += query.event_types
    for name, text in query.tags:
        conditions.append(HAS_TAG)
        parameters += [name, text]
    if query.has_error is not None:
        conditions.append(FAILED if query.has_error else f"NOT {FAILED}")

    # Equal starts are ordered by ascending id in both directions.
    beyond, direction = (">", "ASC") if query.ascending else ("<", "DESC")
    if page.token is not None:
        time, trace_id = place_of_token(page.token)
        conditions.append(f"(start_time {beyond} ? OR (start_time = ? AND trace_id > ?))")
        parameters += [time, time, trace_id]
    parameters += [page.limit + 1, bounded(page.offset)]
    return (
        f"SELECT start_time, trace_id, body FROM trace WHERE {' AND '.join(conditions)} "
        f"ORDER BY start_time {direction}, trace_id LIMIT ? OFFSET ?",
        parameters,
    )


def bounded(offset: int) -> int:
    """An offset as the database takes it."""
    return min(offset, 2**63 - 1)


def token(time: int, item: bytes) -> bytes:
    """A page token: the time and the id of the last item. Any instance can continue from it, and concurrent writes and deletions do not
    shift the next page."""
    return sortable(time) + item


def place_of_token(token: bytes) -> tuple[int, bytes]:
    """The time and the id in a token. Tokens come from clients, so they may be invalid."""
    if len(token) != 24:
        raise InvalidArgument("the page token is not one of this plugin")
    return number_of(token[:8]), token[8:]
