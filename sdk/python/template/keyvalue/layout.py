"""Where things are in the bucket. Integers and ids are big-endian, so keys sort like what they are made of.

| key | value |
|---|---|
| `h` trace-id | the header: the fields to search by, and the body |
| `t` start trace-id | nothing: the traces by start time |
| `e` trace-id timestamp event-id | the body of the event |
| `a` trace-id actor-id | nothing: which actors a trace has |
| `A` trace-id | nothing: some actor ids are missing from `a`, because they are too long for a key |
| `k` trace-id event-type | nothing: which kinds of events |
| `x` trace-id `0` or `1` | nothing: `1` if an event has an error |
"""

from uuid import UUID

from reflow_tracing_plugin.keys import number_of, sortable
from reflow_tracing_plugin.keyvalue import EventEntry, Field, Present, Sortable

#: What is stored for each event. Those whose first key exists are stored already.
EVENT = EventEntry([b"e", Sortable("trace-id"), Sortable("timestamp"), Sortable("event-id")], [Field("body")])
ACTOR = EventEntry([b"a", Sortable("trace-id"), Field("actor-id")])
KIND = EventEntry([b"k", Sortable("trace-id"), Field("event-type")])
ERROR = EventEntry([b"x", Sortable("trace-id"), Present("error")])

#: Bytes of a key after the trace id.
ROOM = 1024 - 17


def of_trace(kind: bytes, trace_id: UUID, rest: bytes = b"") -> bytes:
    """A key of a trace, or the beginning of its keys of this kind."""
    return kind + trace_id.bytes + rest


def of_start(start: int, trace_id: UUID) -> bytes:
    """The key of a trace among the start times."""
    return b"t" + sortable(start) + trace_id.bytes


def start_of(key: bytes) -> int:
    """The start time in such a key."""
    return number_of(key[1:9])


def trace_of(key: bytes) -> UUID:
    """The trace in such a key."""
    return UUID(bytes=key[9:])
