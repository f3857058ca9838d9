"""The search for traces: a walk along their start times, which looks at the headers, and at the events where the query asks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional
from uuid import UUID

import header
import layout
from reflow_tracing_plugin import Exhausted, InvalidArgument, PageRequest, Status, StorageError, Trace, TracePage, TraceQuery, Unsupported
from reflow_tracing_plugin.redis import Connection

#: Headers that are read at once.
CHUNK = 64
#: A page ends when its headers have this many bytes.
PAGE_BYTES = 8 * 1024 * 1024
#: The last id.
LAST = b"\xff" * 16


class Found(NamedTuple):
    """A trace, and its place in the order of the query."""

    place: bytes
    trace: Trace


def run(server: Connection, query: TraceQuery, page: PageRequest) -> TracePage:
    """The page of the traces that match."""
    if query.more:
        raise Unsupported(f"this plugin does not know the predicates {', '.join(name for name, _ in query.more)}")
    skip = page.offset
    bodies: list[bytes] = []
    size = 0
    last = b""
    for place, trace in walk(server, query, checked(page.token)):
        if not (header.matches(query, trace) and events_match(server, query, trace)):
            continue
        if skip:
            skip -= 1
            continue
        # One more than fits, which shows that there is a next page.
        if bodies and (len(bodies) == page.limit or size > PAGE_BYTES):
            return TracePage(bodies, last)
        bodies.append(trace.body)
        size += len(trace.body)
        last = place
    return TracePage(bodies)


def checked(token: Optional[bytes]) -> Optional[bytes]:
    """A token: a place. Tokens come from clients, so they may be invalid."""
    if token is not None and len(token) != 24:
        raise InvalidArgument("the page token is not one of this plugin")
    return token


def walk(server: Connection, query: TraceQuery, after: Optional[bytes] = None) -> Iterator[Found]:
    """The traces within the bounds of the query and after this place, in the order of the query."""
    ascending = query.ascending
    first, end = (query.start_from, query.start_to) if ascending else (query.start_to, query.start_from)
    least = b"-" if first is None else b"[" + layout.place(first, ascending)
    most = b"+" if end is None else b"[" + layout.place(end, ascending, LAST)
    if after is not None:
        least = b"(" + after
    while places := listed(server, layout.order(ascending), least, most, 0, CHUNK):
        for place, trace in zip(places, headers(server, [layout.trace_of(place) for place in places])):
            # A place without its header is left over from one that was replaced or deleted meanwhile.
            if trace is not None and trace.start_time == layout.start_of(place, ascending):
                yield Found(place, trace)
        least = b"(" + places[-1]


def listed(server: Connection, key: str, least: bytes, most: bytes, offset: int, limit: int) -> list[bytes]:
    """Members of a sorted set, in the order of their bytes."""
    members = server.command("ZRANGE", key, least, most, "BYLEX", "LIMIT", offset, limit)
    if not isinstance(members, list):
        raise StorageError(f"Redis answered ZRANGE of {key} with {members!r}")
    return [member for member in members if isinstance(member, bytes)]


def headers(server: Connection, ids: Sequence[UUID]) -> list[Optional[Trace]]:
    """The headers of these traces, read in as many answers as their size demands."""
    if not ids:
        return []
    try:
        values = server.command("MGET", *map(layout.header, ids))
    except Exhausted:
        half = len(ids) // 2
        if half == 0:
            raise
        return headers(server, ids[:half]) + headers(server, ids[half:])
    if not isinstance(values, list):
        raise StorageError(f"Redis answered MGET with {values!r}")
    return [header.unpack(trace_id, value) if isinstance(value, bytes) else None for trace_id, value in zip(ids, values)]


def events_match(server: Connection, query: TraceQuery, trace: Trace) -> bool:
    """Whether the events of a trace fulfil what a query says about events."""

    def any_of(members: Sequence[str]) -> bool:
        found = server.command("SMISMEMBER", layout.about(trace.trace_id), *members)
        return isinstance(found, list) and 1 in found

    if query.event_types is not None and not (query.event_types and any_of([f"k{kind}" for kind in query.event_types])):
        return False
    if query.has_error is not None:
        failed = trace.status == Status.FAILED or any_of(["kActorFailed", "x1"])
        if failed != query.has_error:
            return False
    return query.actor is None or has_actor(server, trace.trace_id, query.actor.encode())


def has_actor(server: Connection, trace_id: UUID, part: bytes) -> bool:
    """Whether the id of an actor of the trace contains `part`."""
    cursor = b"0"
    while True:
        answer = server.command("SSCAN", layout.about(trace_id), cursor, "COUNT", 1_000)
        if not (isinstance(answer, list) and isinstance(answer[0], bytes) and isinstance(answer[1], list)):
            raise StorageError(f"Redis answered SSCAN with {answer!r}")
        cursor, members = answer[0], answer[1]
        if any(isinstance(member, bytes) and member[:1] == b"a" and part in member[1:] for member in members):
            return True
        if cursor == b"0":
            return False
