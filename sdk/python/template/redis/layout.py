"""The keys. A time in a member is 8 bytes that sort like it, an id 16 bytes. In the name of a key, an id is text.

| key | type | content |
|---|---|---|
| `traces` | sorted set | the ids of all traces, also of those that have only events |
| `oldest-first`, `newest-first` | sorted sets | start and id of each trace with a header |
| `header:ID` | string | the header: the fields to search by, and the body |
| `events:ID` | sorted set | timestamp and event id of each event |
| `bodies:ID` | hash | the body of each event, by its place in `events:ID` |
| `about:ID` | set | `a` and each actor id, `k` and each event type, `x1` if an event has an error |

Members with one score are sorted by their bytes.
"""

from uuid import UUID

from reflow_tracing_plugin.keys import number_of, sortable
from reflow_tracing_plugin.redis import Command, Field, Joined, Present, Sortable, Template

PLACE = Joined(Sortable("timestamp"), Sortable("event-id"))
ID = Field("trace-id")

#: What is run for each event.
STORE_EVENT: list[Template] = [
    ("ZADD", "traces", 0, Sortable("trace-id")),
    ("SADD", Joined("about:", ID), Joined("a", Field("actor-id")), Joined("k", Field("event-type")), Joined("x", Present("error"))),
    ("HSETNX", Joined("bodies:", ID), PLACE, Field("body")),
    # It makes the event exist, so it is last: after an interruption, all of the event is stored again.
    ("ZADD", Joined("events:", ID), 0, PLACE),
]

#: Answers with something for an event that is stored already.
IS_STORED: Template = ("ZSCORE", Joined("events:", ID), PLACE)


def header(trace_id: UUID) -> str:
    return f"header:{trace_id}"


def events(trace_id: UUID) -> str:
    return f"events:{trace_id}"


def bodies(trace_id: UUID) -> str:
    return f"bodies:{trace_id}"


def about(trace_id: UUID) -> str:
    return f"about:{trace_id}"


def order(ascending: bool) -> str:
    """The key of the traces in one of the two orders."""
    return "oldest-first" if ascending else "newest-first"


def place(start: int, ascending: bool, rest: bytes = b"") -> bytes:
    """The place of a trace in an order, from its start and the bytes of its id. Equal starts come by ascending id in both."""
    return sortable(start if ascending else ~start) + rest


def start_of(place: bytes, ascending: bool) -> int:
    """The start in such a place."""
    number = number_of(place[:8])
    return number if ascending else ~number


def trace_of(place: bytes) -> UUID:
    """The trace in such a place."""
    return UUID(bytes=place[8:])


def lists(start: int, trace_id: UUID) -> list[Command]:
    """Puts a trace into both orders."""
    return [("ZADD", order(ascending), 0, place(start, ascending, trace_id.bytes)) for ascending in (True, False)]


def unlists(start: int, trace_id: UUID) -> list[Command]:
    """Takes a trace out of both orders."""
    return [("ZREM", order(ascending), place(start, ascending, trace_id.bytes)) for ascending in (True, False)]
