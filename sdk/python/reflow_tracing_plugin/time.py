"""Times: nanoseconds since 1970-01-01T00:00:00Z."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def datetime_of(timestamp: int) -> datetime:
    """The time as a `datetime` in UTC, rounded down to microseconds."""
    return _EPOCH + timedelta(microseconds=timestamp // 1_000)


def timestamp_of(time: datetime) -> int:
    """The nanoseconds since 1970 of a `datetime` with a time zone."""
    if time.tzinfo is None:
        raise ValueError("the time has no time zone: pass tzinfo=timezone.utc")
    return (time - _EPOCH) // timedelta(microseconds=1) * 1_000
