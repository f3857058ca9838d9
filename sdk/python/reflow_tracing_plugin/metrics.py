"""The plugin's own metrics, exported with the host's. A name consists of lower-case letters, digits and `_`; the host adds the
plugin's name."""

from __future__ import annotations

from .bindings import imported

_metrics = imported("metrics")


def count(name: str, by: int = 1) -> None:
    """Adds to a counter."""
    _metrics.count(name, by)


def gauge(name: str, value: float) -> None:
    """Sets a gauge."""
    _metrics.gauge(name, value)


def observe(name: str, value: float) -> None:
    """Adds an observation to a histogram, such as a duration in seconds."""
    _metrics.observe(name, value)
