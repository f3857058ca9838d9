"""Searches, page by page."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional
from uuid import UUID

from client import Client
from documents import LONGEST, keyed, tag
from reflow_tracing_plugin import Exhausted, InvalidArgument, PageRequest, Status, TracePage, TraceQuery, Unsupported
from reflow_tracing_plugin.keys import number_of, sortable

#: Hits of the first request of a search, and of any request: fewer than the 10,000 that OpenSearch returns at most.
FIRST, MOST = 500, 5_000
#: A page ends when its bodies have this many bytes.
PAGE_BYTES = 8 * 1024 * 1024

ACTOR_FAILED = "ActorFailed"
HEADER = {"exists": {"field": "start"}}


class Place(NamedTuple):
    """A place in a sorted answer: a time, and the id of what is there."""

    time: int
    id: str

    @classmethod
    def of_hit(cls, hit: Mapping[str, Any]) -> "Place":
        return cls(*hit["sort"])

    def token(self) -> bytes:
        """The token of the page after it. Any instance can continue from it."""
        return sortable(self.time) + bytes.fromhex(self.id)

    @classmethod
    def of_token(cls, token: bytes) -> "Place":
        """The place in a token. Tokens come from clients, so they may be invalid."""
        if len(token) != 24:
            raise InvalidArgument("the page token is not one of this plugin")
        return cls(number_of(token[:8]), token[8:].hex())


def hits(
    client: Client,
    index: str,
    query: Mapping[str, Any],
    sort: Sequence[Any],
    fields: Sequence[str],
    after: Optional[Place],
    wanted: int,
    **parameters: Any,
) -> Iterator[Any]:
    """What matches, in this order, read as it is needed: in small pages if it is large."""
    size = min(FIRST, wanted)
    limit = client.settings.max_answer_kb * 1_024
    while True:
        body: dict[str, Any] = {"query": query, "sort": sort, "size": size, "_source": list(fields) or False, "track_total_hits": False}
        if after is not None:
            body["search_after"] = list(after)
        try:
            page = client.search(index, body, **parameters)["hits"]["hits"]
        except Exhausted:
            if size == 1:
                raise Exhausted(f"a document of {index} is larger than `max_answer_kb`: raise it") from None
            size = max(1, size // 4)
            continue
        yield from page
        if len(page) < size:
            return
        after = Place.of_hit(page[-1])
        # Four times as many of these documents would be half of what an answer may have.
        if sum(len(hit.get("_source", {}).get("body", "")) + 500 for hit in page) * 8 < limit:
            size = min(size * 4, MOST)


def traces(client: Client, query: TraceQuery, page: PageRequest) -> TracePage:
    """The page of the traces that match."""
    if query.more:
        raise Unsupported(f"this plugin does not know the predicates {', '.join(name for name, _ in query.more)}")
    after = None if page.token is None else Place.of_token(page.token)
    skip = page.offset
    bodies: list[bytes] = []
    size = 0
    last = None
    fields = ["body"]
    if query.actor is not None:
        fields += ["actors", "actors_cut"]
    # One more shows whether another page follows.
    wanted = min(skip + page.limit + 1, MOST)
    sort = [{"start": {"order": "asc" if query.ascending else "desc"}}, {"trace": {"order": "asc"}}]
    for hit in hits(client, client.settings.traces, condition(query), sort, fields, after, wanted):
        if query.actor is not None and not has_actor(client, hit, query.actor):
            continue
        if skip:
            skip -= 1
            continue
        if last and (len(bodies) == page.limit or size > PAGE_BYTES):
            return TracePage(bodies, last.token())
        bodies.append(b64decode(hit["_source"]["body"]))
        size += len(bodies[-1])
        last = Place.of_hit(hit)
    return TracePage(bodies)


def condition(query: TraceQuery) -> dict[str, Any]:
    """The query as OpenSearch takes it. All predicates must hold."""
    must: list[Any] = [HEADER]
    must_not: list[Any] = []
    exact = {
        "flow": query.flow_id and keyed(query.flow_id),
        "execution": query.execution_id and query.execution_id.hex,
        "status": query.status and query.status.value,
        "error": query.error and keyed(query.error),
    }
    must += [{"term": {field: {"value": value}}} for field, value in exact.items() if value is not None]
    must += [{"term": {"tags": {"value": tag(name, value)}}} for name, value in query.tags]
    for field, least, most in (
        ("start", query.start_from, query.start_to),
        ("duration", query.min_duration, query.max_duration),
    ):
        bounds = {name: bound for name, bound in (("gte", least), ("lte", most)) if bound is not None}
        if bounds:
            must.append({"range": {field: bounds}})
    if query.event_types is not None:
        must.append({"terms": {"kinds": [keyed(kind) for kind in query.event_types]}})
    if query.actor is not None:
        possible: list[Any] = [{"term": {"actors_cut": True}}]
        if len(query.actor.encode()) <= LONGEST:
            possible.append(containing("actors", query.actor))
        must.append(any_of(possible))
    if query.has_error is not None:
        failed = any_of(
            [
                {"term": {"status": {"value": Status.FAILED.value}}},
                {"term": {"kinds": {"value": ACTOR_FAILED}}},
                {"term": {"event_error": True}},
            ]
        )
        (must if query.has_error else must_not).append(failed)
    return {"bool": {"filter": must, "must_not": must_not}}


def any_of(conditions: Sequence[Any]) -> dict[str, Any]:
    return {"bool": {"should": list(conditions), "minimum_should_match": 1}}


def containing(field: str, part: str) -> dict[str, Any]:
    """Values that contain `part`, case-sensitively."""
    escaped = "".join(f"\\{character}" if character in "*?\\" else character for character in part)
    return {"wildcard": {field: {"value": f"*{escaped}*"}}}


def has_actor(client: Client, hit: Mapping[str, Any], part: str) -> bool:
    """Whether the id of an actor of the trace that was found contains `part`."""
    if any(part in actor for actor in hit["_source"].get("actors") or ()):
        return True
    # Some actors are only with the events.
    of_trace = {"term": {"trace": {"value": hit["_id"]}}}
    index, route = client.settings.events, {"routing": hit["_id"]}
    if len(part.encode()) <= LONGEST:
        query = {"bool": {"filter": [of_trace, containing("actor", part)]}}
        if client.search(index, {"query": query, "size": 1, "_source": False, "track_total_hits": False}, **route)["hits"]["hits"]:
            return True
    long = {"bool": {"filter": [of_trace, {"term": {"actor_long": True}}]}}
    return any(part in event["_source"]["actor"] for event in hits(client, index, long, BY_TIME, ["actor"], None, MOST, **route))


#: The order of the events of a trace.
BY_TIME = [{"at": {"order": "asc"}}, {"event": {"order": "asc"}}]


def events(client: Client, trace_id: UUID, page: PageRequest) -> tuple[list[bytes], Optional[bytes]]:
    """The bodies of a page of events, and the token of the next page."""
    query = {"bool": {"filter": [{"term": {"trace": {"value": trace_id.hex}}}]}}
    after = None if page.token is None else Place.of_token(page.token)
    index, route = client.settings.events, {"routing": trace_id.hex}
    skip = page.offset
    while skip:
        # Skipped events are not read.
        step = min(skip, MOST)
        body: dict[str, Any] = {"query": query, "sort": BY_TIME, "size": step, "_source": False, "track_total_hits": False}
        if after is not None:
            body["search_after"] = list(after)
        skipped = client.search(index, body, **route)["hits"]["hits"]
        if len(skipped) < step:
            return [], None
        after = Place.of_hit(skipped[-1])
        skip -= step
    bodies: list[bytes] = []
    size = 0
    last = None
    for hit in hits(client, index, query, BY_TIME, ["body"], after, min(page.limit + 1, MOST), **route):
        if last and (len(bodies) == page.limit or size > PAGE_BYTES):
            return bodies, last.token()
        bodies.append(b64decode(hit["_source"]["body"]))
        size += len(bodies[-1])
        last = Place.of_hit(hit)
    return bodies, None


def outermost(client: Client, ascending: bool) -> Optional[int]:
    """The earliest or the latest start."""
    sort = [{"start": {"order": "asc" if ascending else "desc"}}, {"trace": {"order": "asc"}}]
    query = {"bool": {"filter": [HEADER]}}
    return next((Place.of_hit(hit).time for hit in hits(client, client.settings.traces, query, sort, [], None, 1)), None)
