"""The host's log. Use Python's `logging`: what it logs at `INFO` and above goes there. For more, call
`logging.getLogger().setLevel(logging.DEBUG)`; the host shows it with `RUST_LOG=debug`."""

from __future__ import annotations

import logging

from .bindings import imported

_log = imported("log")


class Handler(logging.Handler):
    """Passes records on to the host."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(_level(record.levelno), self.format(record))


def _level(number: int) -> object:
    if number >= logging.ERROR:
        return _log.Level.ERROR
    if number >= logging.WARNING:
        return _log.Level.WARN
    if number >= logging.INFO:
        return _log.Level.INFO
    return _log.Level.DEBUG if number >= logging.DEBUG else _log.Level.TRACE


def install() -> None:
    """Makes the host's log the destination of `logging`."""
    root = logging.getLogger()
    if not any(isinstance(handler, Handler) for handler in root.handlers):
        root.addHandler(Handler())
        root.setLevel(logging.INFO)
