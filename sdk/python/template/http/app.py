"""A forwarder: each header and each event that is stored is posted to the setting `url`, as lines of JSON. It keeps nothing and answers no
query, so the host uses it beside a store: `also` in `[storage]` names it.

`wit/deps/storage/backend.wit` specifies each function.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional
from urllib.parse import urlsplit
from uuid import UUID

from reflow_tracing_plugin import (
    EventBatch,
    EventPage,
    InvalidArgument,
    PageRequest,
    Stats,
    StorageBackend,
    StorageError,
    Trace,
    TracePage,
    TraceQuery,
    Unavailable,
    Unsupported,
    export,
)
from reflow_tracing_plugin.http import request
from reflow_tracing_plugin.render import traces_to_json

#: A larger batch is posted in several requests; one line may be larger.
BODY_BYTES = 256 * 1024
#: Seconds that a request may take. Below the host's limit (`call_timeout_ms`, 5000), so that the error says what happened.
PATIENCE = 4.0
#: Bytes of an answer, which is not looked at.
ANSWER_BYTES = 64 * 1024


class Forwarder(StorageBackend):
    name = "{{name}}"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.url = url_of(config)

    def store_traces(self, traces: Sequence[Trace]) -> None:
        # The host renders the JSON, and no number in it is parsed here, so all of them keep their digits.
        self.post(traces_to_json(trace.body for trace in traces))

    def store_events(self, events: EventBatch) -> None:
        self.post(f'{{"trace_id":"{trace_id}","event":{event}}}' for trace_id, event in events.rows("trace-id", "json"))

    def health_check(self) -> None:
        # Any answer shows that the receiver can be reached; many refuse the method.
        request("HEAD", self.url, timeout=PATIENCE, max_bytes=ANSWER_BYTES)

    def post(self, lines: Iterable[str]) -> None:
        """Posts the lines. Returns when all were accepted; otherwise the host calls again, so a receiver may get lines twice."""
        headers = {"content-type": "application/x-ndjson"}
        for body in bodies(lines):
            answer = request("POST", self.url, headers=headers, body=body, timeout=PATIENCE, max_bytes=ANSWER_BYTES)
            if 200 <= answer.status < 300:
                continue
            text = f"{self.url} answered {answer.status}"
            # It may accept the same later.
            if answer.status >= 500 or answer.status in (408, 429):
                raise Unavailable(text)
            raise StorageError(f"{text}: it refuses what it was sent")

    # A forwarder does not read.

    def get_traces(self, ids: Sequence[UUID]) -> Sequence[Optional[bytes]]:
        raise Unsupported("this plugin forwards traces, and does not read them")

    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:
        raise Unsupported("this plugin forwards traces, and does not read them")

    def get_events(self, trace_id: UUID, page: PageRequest) -> EventPage:
        raise Unsupported("this plugin forwards traces, and does not read them")

    def get_stats(self) -> Stats:
        raise Unsupported("this plugin forwards traces, and does not count them")


def url_of(config: Mapping[str, Any]) -> str:
    """The setting `url`. Refuses unknown settings, so that a misspelt one is noticed."""
    for name in config:
        if name != "url":
            raise InvalidArgument(f"`{name}` is not a setting of this plugin: its only one is `url`")
    url = config.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise InvalidArgument(f'`url` is {url!r}: it must be an address such as "https://example.com/traces"')
    return url


def bodies(lines: Iterable[str]) -> Iterator[bytes]:
    """The lines, in bodies of at most `BODY_BYTES` unless a line alone is longer."""
    body = bytearray()
    for line in lines:
        encoded = line.encode() + b"\n"
        if body and len(body) + len(encoded) > BODY_BYTES:
            yield bytes(body)
            body.clear()
        body += encoded
    if body:
        yield bytes(body)


# The host calls the functions of this class.
Backend = export(Forwarder)
