"""The data of a trace store, and its queries.

The host owns the encoding. A header and an event come with a `body`: the complete value as bytes. Store and return it unchanged, and
search by the fields beside it. Times are nanoseconds since 1970-01-01T00:00:00Z, as integers: a `datetime` would lose the last three
digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Optional
from uuid import UUID

if TYPE_CHECKING:
    from .batch import EventBatch


class Status(Enum):
    """The status of an execution."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


@dataclass
class Trace:
    """The header of a trace, without its events."""

    trace_id: UUID
    flow_id: str
    execution_id: UUID
    start_time: int
    #: `None` while the execution runs.
    end_time: Optional[int]
    status: Status
    #: The message of a failed execution; `None` unless `status` is `FAILED`.
    error: Optional[str]
    #: Labels, each name once.
    tags: Sequence[tuple[str, str]]
    #: The complete header, to be stored and returned unchanged.
    body: bytes


@dataclass
class Event:
    """One event, as a record. Convenient; columns are cheaper."""

    trace_id: UUID
    event_id: UUID
    timestamp: int
    #: `ActorCreated`, `DataFlow`, ..: the name of the kind.
    event_type: str
    actor_id: str
    #: The error that the event carries.
    error: Optional[str]
    #: The complete event, to be stored and returned unchanged.
    body: bytes


@dataclass
class TraceQuery:
    """A query for traces. All predicates that are not `None` must hold."""

    flow_id: Optional[str] = None
    execution_id: Optional[UUID] = None
    #: Bounds on the start time, both included.
    start_from: Optional[int] = None
    start_to: Optional[int] = None
    status: Optional[Status] = None
    #: With status `FAILED`: the exact message. `None`: any.
    error: Optional[str] = None
    #: A case-sensitive substring of the actor id of at least one event.
    actor: Optional[str] = None
    #: The trace has an event of at least one of these kinds.
    event_types: Optional[Sequence[str]] = None
    #: The trace carries all of these tags.
    tags: Sequence[tuple[str, str]] = ()
    #: The trace has ended, and its duration is within these bounds, in nanoseconds.
    min_duration: Optional[int] = None
    max_duration: Optional[int] = None
    #: The trace has status `FAILED`, or an event of kind `ActorFailed`, or an event with an error. `False`: none of these.
    has_error: Optional[bool] = None
    #: The earliest start first instead of the latest. Equal starts come by ascending trace id either way.
    ascending: bool = False
    #: Predicates that later hosts may add, by name. Answer `Unsupported` to those you do not know.
    more: Sequence[tuple[str, str]] = ()


@dataclass
class PageRequest:
    """A request for a page."""

    #: Maximum items; at least 1.
    limit: int
    #: Items to skip, counted from `token` when there is one.
    offset: int = 0
    #: The `next` of the previous page. It holds all that any instance of the plugin needs to continue.
    token: Optional[bytes] = None


@dataclass
class TracePage:
    """Traces, as the bodies of their headers."""

    bodies: Sequence[bytes]
    #: The token of the next page; `None` on the last page.
    next: Optional[bytes] = None


@dataclass
class EventPage:
    """A page of a trace's events."""

    events: EventBatch
    #: The token of the next page; `None` on the last page.
    next: Optional[bytes] = None


@dataclass
class Stats:
    """What the store holds."""

    #: Traces with a header.
    traces: int
    #: Events, those without a header included.
    events: int
    #: The size of the store in bytes, if known.
    bytes: Optional[int] = None
    #: The earliest and the latest start of a trace.
    oldest: Optional[int] = None
    newest: Optional[int] = None
