"""The two indexes, which the plugin creates when they are missing.

`INDEX-traces` has a document for each trace, whose id is that of the trace: the fields of the header, and what its events are like. A trace
without a header has no `start`. `INDEX-events` has a document for each event. `body` is what the host stores and gets back; the rest is to
search by, also for dashboards.
"""

from typing import Any

from client import Client
from reflow_tracing_plugin import InvalidArgument, NotFound, StorageError
from settings import Settings

#: The version of this layout.
LAYOUT = 1

KEYWORD = {"type": "keyword"}
#: An integer of 64 bits: nanoseconds since 1970 are exact.
LONG = {"type": "long"}
#: Base64, which is not indexed.
BINARY = {"type": "binary"}
#: The time to the millisecond, for dashboards.
TIME = {"type": "date", "format": "strict_date_optional_time"}

TRACES = {
    "@timestamp": TIME,
    "trace": KEYWORD,
    "flow": KEYWORD,
    "execution": KEYWORD,
    "start": LONG,
    "end": LONG,
    "duration": LONG,
    "status": KEYWORD,
    "error": KEYWORD,
    "tags": KEYWORD,
    "body": BINARY,
    # What the events of the trace are like; `summary.py`.
    "kinds": KEYWORD,
    "actors": KEYWORD,
    "actors_cut": {"type": "boolean"},
    "event_error": {"type": "boolean"},
}

EVENTS = {
    "@timestamp": TIME,
    "trace": KEYWORD,
    "event": KEYWORD,
    "at": LONG,
    "type": KEYWORD,
    # In the source, a long one is whole. It is not indexed; `actor_long` marks it.
    "actor": {"type": "keyword", "ignore_above": 512},
    "actor_long": {"type": "boolean"},
    "error": {"type": "keyword", "ignore_above": 512},
    "body": BINARY,
}


def ready(client: Client) -> None:
    """Creates what is missing. Several instances may do this at once."""
    settings = client.settings
    try:
        check(client)
    except NotFound:
        for name, properties in ((settings.traces, TRACES), (settings.events, EVENTS)):
            definition = {"settings": {"index": of_index(settings)}, "mappings": mapping(properties)}
            # If the index is deleted while the host runs, the next write creates it again with the same mapping.
            template = {"index_patterns": [name], "priority": 500, "template": definition}
            client.call("PUT", f"/_index_template/{name}", template)
            try:
                client.call("PUT", f"/{name}", definition)
            except StorageError as error:
                if "resource_already_exists_exception" not in error.message:
                    raise
        check(client)


def of_index(settings: Settings) -> dict[str, Any]:
    return {
        "number_of_shards": settings.shards,
        "number_of_replicas": settings.replicas,
        # A write is acknowledged after it is on the disk.
        "translog.durability": "request",
    }


def mapping(properties: dict[str, Any]) -> dict[str, Any]:
    return {"dynamic": "strict", "_meta": {"reflow_tracing": {"layout": LAYOUT}}, "properties": properties}


def check(client: Client) -> None:
    """Fails with `NotFound` if an index is missing, and with `InvalidArgument` if one is not of this plugin, or of another layout."""
    names = f"{client.settings.traces},{client.settings.events}"
    for index, found in client.call("GET", f"/{names}/_mapping").items():
        layout = found["mappings"].get("_meta", {}).get("reflow_tracing", {}).get("layout")
        if layout is None:
            raise InvalidArgument(f"the index {index} exists, but was not created by this plugin: set `index` to another name")
        if layout != LAYOUT:
            raise InvalidArgument(f"the index {index} has layout {layout}, but this version of the plugin has layout {LAYOUT}")
