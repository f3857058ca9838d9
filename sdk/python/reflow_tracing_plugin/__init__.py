"""Write a storage plugin for reflow-tracing in Python.

Derive a class from `StorageBackend`, and export it from the module `app` as `Backend`:

    from reflow_tracing_plugin import StorageBackend, export

    class Ledger(StorageBackend):
        ...

    Backend = export(Ledger)

The modules `keyvalue` and `sql` reach the databases that the operator granted. `config`, `metrics` and `secrets` are the host's other
capabilities. What the plugin logs with Python's `logging`, and what it prints, goes to the host's log.

A capability can be used if `wit/world.wit` imports it.
"""

from .backend import StorageBackend
from .batch import EventBatch
from .errors import Conflict, Exhausted, InvalidArgument, NotFound, StorageError, Unavailable, Unsupported
from .export import export, export_expiry, export_maintenance
from .model import Event, EventPage, PageRequest, Stats, Status, Trace, TracePage, TraceQuery
from .time import datetime_of, timestamp_of

__all__ = [
    "Conflict",
    "Event",
    "EventBatch",
    "EventPage",
    "Exhausted",
    "InvalidArgument",
    "NotFound",
    "PageRequest",
    "Stats",
    "Status",
    "StorageBackend",
    "StorageError",
    "Trace",
    "TracePage",
    "TraceQuery",
    "Unavailable",
    "Unsupported",
    "datetime_of",
    "export",
    "export_expiry",
    "export_maintenance",
    "timestamp_of",
]
