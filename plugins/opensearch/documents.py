"""Headers and events as documents."""

import hashlib
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any, Optional
from uuid import UUID

from client import Action
from reflow_tracing_plugin import EventBatch, Trace
from reflow_tracing_plugin.keys import sortable
from settings import Settings

#: A longer text, in bytes, is not indexed as it is: Lucene refuses terms over 32,766 bytes, and long ones cost memory.
LONGEST = 512

HASHED = "sha256:"
#: The answer to the write of an event that is stored already.
STORED = {409: "version_conflict_engine_exception"}

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LEAST, MOST = -(2**63), 2**63 - 1


def keyed(text: str) -> str:
    """What is indexed for a text that is searched for as a whole: the text, or the hash of a long one. Different texts have different
    keys."""
    encoded = text.encode()
    if len(encoded) <= LONGEST and not text.startswith(HASHED):
        return text
    return HASHED + hashlib.sha256(encoded).hexdigest()


def tag(name: str, value: str) -> str:
    """What is indexed for a tag. The first `=` without a backslash ends the name."""
    escaped = name.replace("\\", "\\\\").replace("=", "\\=")
    return keyed(f"{escaped}={value}")


def shown(nanoseconds: int) -> str:
    """The time for dashboards, rounded down to milliseconds."""
    time = EPOCH + timedelta(milliseconds=nanoseconds // 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1_000:03}Z"


def header(trace: Trace) -> dict[str, Any]:
    """The fields of a header. Each is there: an absent one replaces what an earlier header had."""
    duration = None if trace.end_time is None else min(max(trace.end_time - trace.start_time, LEAST), MOST)
    return {
        "@timestamp": shown(trace.start_time),
        "trace": trace.trace_id.hex,
        "flow": keyed(trace.flow_id),
        "execution": trace.execution_id.hex,
        "start": trace.start_time,
        "end": trace.end_time,
        "duration": duration,
        "status": trace.status.value,
        "error": None if trace.error is None else keyed(trace.error),
        "tags": [tag(name, value) for name, value in trace.tags],
        "body": b64encode(trace.body).decode(),
    }


def events(settings: Settings, batch: EventBatch) -> list[Action]:
    """A write for each event. That of an event that is stored already fails."""
    fields = ("trace-id", "event-id", "timestamp", "event-type", "actor-id", "body")
    errors = batch.optional("error")
    return [event(settings, *row, error) for row, error in zip(batch.rows(*fields), errors)]


def event(
    settings: Settings, trace_id: UUID, event_id: UUID, at: int, kind: str, actor: str, body: bytes, error: Optional[str]
) -> Action:
    trace = trace_id.hex
    source = {
        "@timestamp": shown(at),
        "trace": trace,
        "event": event_id.hex,
        "at": at,
        "type": keyed(kind),
        "actor": actor,
        "body": b64encode(body).decode(),
    }
    if is_long(actor):
        source["actor_long"] = True
    if error is not None:
        # For dashboards; the whole text is in the body.
        source["error"] = error[:LONGEST]
    # The events of a trace are on one shard.
    target = {"_index": settings.events, "_id": f"{trace}{sortable(at).hex()}{event_id.hex}", "routing": trace}
    return Action("create", target, source)


def is_long(actor: str) -> bool:
    """Whether the id of an actor is too long to be indexed."""
    return len(actor.encode()) > LONGEST
