"""The search for traces: a walk along their start times, which looks at the headers, and at the events where the query asks."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice, takewhile
from typing import NamedTuple, Optional

import header
from layout import ROOM, of_trace, start_of, trace_of
from reflow_tracing_plugin import Exhausted, InvalidArgument, PageRequest, Status, Trace, TracePage, TraceQuery, Unsupported
from reflow_tracing_plugin.keys import sortable
from reflow_tracing_plugin.keyvalue import Bucket

#: Headers that are read at once, at most.
CHUNK = 128
#: A page ends when its headers have this many bytes.
PAGE_BYTES = 8 * 1024 * 1024


class Place(NamedTuple):
    """A trace in the order of a query: its key among the start times, and the cursor of the page of keys that it is on."""

    key: bytes
    cursor: Optional[bytes]

    def token(self) -> bytes:
        """The token of the page after this trace."""
        return self.key + (b"" if self.cursor is None else b"+" + self.cursor)

    @classmethod
    def of_token(cls, token: bytes) -> "Place":
        """The place in a token."""
        if len(token) < 25 or token[:1] != b"t" or token[25:26] not in (b"", b"+"):
            raise InvalidArgument("the page token is not one of this plugin")
        return cls(token[:25], token[26:] if token[25:] else None)


def run(bucket: Bucket, query: TraceQuery, page: PageRequest) -> TracePage:
    """The page of the traces that match."""
    if query.more:
        raise Unsupported(f"this plugin does not know the predicates {', '.join(name for name, _ in query.more)}")
    after = None if page.token is None else Place.of_token(page.token)
    skip = page.offset
    bodies: list[bytes] = []
    size = 0
    last = None
    for place, trace in matches(bucket, query, after, page.limit + 1):
        if skip:
            skip -= 1
            continue
        # One more than fits, which shows that there is a next page.
        if last and (len(bodies) == page.limit or size > PAGE_BYTES):
            return TracePage(bodies, last.token())
        bodies.append(trace.body)
        size += len(trace.body)
        last = place
    return TracePage(bodies)


def matches(bucket: Bucket, query: TraceQuery, after: Optional[Place], wanted: int) -> Iterator[tuple[Place, Trace]]:
    """The traces that match, in the order of the query, with their places."""
    places = walk(bucket, query, after)
    # Few headers for a small page, more when few of them match.
    size = min(wanted, CHUNK)
    while chunk := list(islice(places, size)):
        for place, trace in zip(chunk, headers(bucket, chunk)):
            # The key of a header that was replaced by a concurrent write may be left.
            if trace and trace.start_time == start_of(place.key) and header.matches(query, trace):
                if events_match(bucket, query, trace):
                    yield place, trace
        size = min(size * 2, CHUNK)


def walk(bucket: Bucket, query: TraceQuery, after: Optional[Place]) -> Iterator[Place]:
    """The places that are within the bounds of the query and after this one."""
    low = -(2**63) if query.start_from is None else query.start_from
    high = 2**63 - 1 if query.start_to is None else query.start_to
    # What all keys within the bounds begin with: the bucket lists no others.
    common = takewhile(lambda pair: pair[0] == pair[1], zip(sortable(low), sortable(high)))
    prefix = b"t" + bytes(byte for byte, _ in common)
    places = listed(bucket, prefix, query.ascending, after.cursor if after else None)
    for place in places:
        start = start_of(place.key)
        if start < low and not query.ascending or start > high and query.ascending:
            return
        if low <= start <= high and (after is None or comes_after(place.key, after.key, query.ascending)):
            yield place


def listed(bucket: Bucket, prefix: bytes, ascending: bool, cursor: Optional[bytes]) -> Iterator[Place]:
    """The keys of start times, by start and then by ascending id."""
    out_of_turn = None
    while True:
        entries, following = bucket.page(prefix, cursor, CHUNK, reverse=not ascending)
        keys: Iterable[bytes] = [key for key, _ in entries]
        if not ascending:
            # Backwards, equal starts come by descending id. The last run of the page may go on in the next: list it by itself.
            runs = [list(run) for start, run in groupby(keys, start_of) if start != out_of_turn]
            keys = chain.from_iterable(reversed(run) for run in runs[:-1])
            if runs:
                out_of_turn = start_of(runs[-1][0])
                keys = chain(keys, bucket.keys(b"t" + sortable(out_of_turn), CHUNK))
        for key in keys:
            yield Place(key, cursor)
        if following is None:
            return
        cursor = following


def comes_after(key: bytes, other: bytes, ascending: bool) -> bool:
    """Whether a key comes after another one in the order of a query."""
    if ascending or key[:9] == other[:9]:
        return key > other
    return key < other


def headers(bucket: Bucket, places: list[Place]) -> list[Optional[Trace]]:
    """The headers of these traces."""
    ids = [trace_of(place.key) for place in places]
    values = read(bucket, [of_trace(b"h", trace_id) for trace_id in ids])
    return [None if value is None else header.unpack(trace_id, value) for trace_id, value in zip(ids, values)]


def read(bucket: Bucket, keys: list[bytes]) -> list[Optional[bytes]]:
    """The values of these keys, in as many answers as their size demands."""
    try:
        return bucket.get_many(keys)
    except Exhausted:
        half = len(keys) // 2
        if half == 0:
            raise
        return read(bucket, keys[:half]) + read(bucket, keys[half:])


def events_match(bucket: Bucket, query: TraceQuery, trace: Trace) -> bool:
    """Whether the events of a trace fulfil what a query says about events."""
    trace_id = trace.trace_id

    def any_of(*keys: bytes) -> bool:
        return any(value is not None for value in bucket.get_many(keys))

    if query.event_types is not None:
        kinds = [kind.encode() for kind in query.event_types]
        if not any_of(*(of_trace(b"k", trace_id, kind) for kind in kinds if len(kind) <= ROOM)):
            return False
    if query.has_error is not None:
        failed = trace.status == Status.FAILED or any_of(
            of_trace(b"k", trace_id, b"ActorFailed"), of_trace(b"x", trace_id, b"1")
        )
        if failed != query.has_error:
            return False
    return query.actor is None or has_actor(bucket, trace, query.actor)


def has_actor(bucket: Bucket, trace: Trace, part: str) -> bool:
    """Whether the id of an actor of the trace contains `part`."""
    indexed = bucket.keys(of_trace(b"a", trace.trace_id))
    if any(part.encode() in key[17:] for key in indexed):
        return True
    if bucket.get(of_trace(b"A", trace.trace_id)) is None:
        return False
    cursor = None
    while True:
        events, cursor = bucket.event_page(of_trace(b"e", trace.trace_id), cursor)
        if any(part in actor for actor in events.column("actor-id")):
            return True
        if cursor is None:
            return False
