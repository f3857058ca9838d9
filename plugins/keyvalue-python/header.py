"""A header as it is stored, and whether it matches a query."""

import json
from uuid import UUID

from reflow_tracing_plugin import Status, Trace, TraceQuery


def pack(trace: Trace) -> bytes:
    """The value of a header: the length of its fields, the fields as JSON, and the body."""
    fields = [trace.flow_id, trace.execution_id.hex, trace.start_time, trace.end_time, trace.status.value, trace.error, trace.tags]
    text = json.dumps(fields, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "big") + text + trace.body


def unpack(trace_id: UUID, value: bytes) -> Trace:
    """The header with this value."""
    end = 4 + int.from_bytes(value[:4], "big")
    flow_id, execution_id, start_time, end_time, status, error, tags = json.loads(value[4:end])
    tags = [(name, text) for name, text in tags]
    return Trace(trace_id, flow_id, UUID(hex=execution_id), start_time, end_time, Status(status), error, tags, value[end:])


def matches(query: TraceQuery, trace: Trace) -> bool:
    """Whether a header fulfils what a query says about headers."""
    if query.min_duration is not None or query.max_duration is not None:
        if trace.end_time is None:
            return False
        duration = trace.end_time - trace.start_time
        if query.min_duration is not None and duration < query.min_duration:
            return False
        if query.max_duration is not None and duration > query.max_duration:
            return False
    return (
        (query.flow_id is None or query.flow_id == trace.flow_id)
        and (query.execution_id is None or query.execution_id == trace.execution_id)
        and (query.status is None or query.status == trace.status)
        and (query.error is None or query.error == trace.error)
        and all(tag in trace.tags for tag in query.tags)
    )
