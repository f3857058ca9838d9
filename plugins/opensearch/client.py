"""Requests to OpenSearch, and what its errors mean."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional
from urllib.parse import urlencode

from reflow_tracing_plugin import Conflict, Exhausted, NotFound, StorageError, Unavailable
from reflow_tracing_plugin.http import Response, request
from settings import Settings

#: Characters of a reason that are shown.
SHOWN = 500

#: Documents that one request reads by their ids.
GOT = 1_000

#: What says that the disk is too full to write.
FULL = ("flood-stage", "flood stage", "read-only-allow-delete", "read_only_allow_delete")


class Failed(NamedTuple):
    """An error of a request, or of an item of a bulk request."""

    status: int
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.status} {self.kind}: {self.reason[:SHOWN]}" if self.kind else f"{self.status} {self.reason[:SHOWN]}".rstrip()


class Action(NamedTuple):
    """A write of a bulk request."""

    #: `create`, `update` or `delete`.
    name: str
    #: The index, the id and the conditions of the write.
    target: Mapping[str, Any]
    source: Optional[Mapping[str, Any]] = None

    def lines(self) -> bytes:
        """The action in the format of a bulk request."""
        lines = [compact({self.name: self.target})]
        if self.source is not None:
            lines.append(compact(self.source))
        return b"\n".join(lines) + b"\n"


class Client:
    """A cluster. Its methods raise a `StorageError` where a request fails."""

    def __init__(self, settings: Settings, send: Callable[..., Response] = request) -> None:
        self.settings = settings
        self._send = send

    def call(self, method: str, path: str, body: Any = None, **parameters: Any) -> Any:
        """The answer to a request. A body is JSON."""
        content = b"" if body is None else compact(body)
        return self.answer(method, path, content, "application/json", parameters)

    def answer(self, method: str, path: str, content: bytes, content_type: str, parameters: Mapping[str, Any]) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        answer = self._send(
            method,
            f"{self.settings.url}{path}{query}",
            headers={"content-type": content_type, "accept": "application/json"} if content else {"accept": "application/json"},
            body=content,
            timeout=self.settings.timeout_ms / 1_000,
            max_bytes=self.settings.max_answer_kb * 1_024,
        )
        if answer.status >= 300:
            raise meaning(failure_of(answer), f"{method} {path}")
        try:
            return json.loads(answer.body)
        except ValueError:
            raise StorageError(f"`url` does not lead to OpenSearch: the answer to {method} {path} is not JSON") from None

    def search(self, index: str, body: Mapping[str, Any], **parameters: Any) -> Any:
        """The answer to a search of all shards."""
        path = f"/{index}/_search"
        # Otherwise what is on a shard that fails would be left out in silence.
        answer = self.call("POST", path, body, allow_partial_search_results="false", **parameters)
        if answer.get("timed_out") or answer["_shards"]["failed"]:
            raise Unavailable(f"OpenSearch did not search all shards of {index} in time")
        return answer

    def count(self, index: str, query: Mapping[str, Any]) -> int:
        """How many documents match."""
        answer = self.call("POST", f"/{index}/_count", {"query": query})
        if answer["_shards"]["failed"]:
            raise Unavailable(f"OpenSearch could not count on all shards of {index}")
        return int(answer["count"])

    def get_many(self, index: str, targets: Sequence[Mapping[str, str]], fields: Sequence[str]) -> list[Any]:
        """The documents with these ids, in their order, also when a search does not see them yet."""
        return [found for start in range(0, len(targets), GOT) for found in self._get(index, targets[start : start + GOT], fields)]

    def _get(self, index: str, targets: Sequence[Mapping[str, str]], fields: Sequence[str]) -> list[Any]:
        """Reads fewer at a time when they are large."""
        places = [{name: target[name] for name in ("_id", "routing") if name in target} for target in targets]
        try:
            body = {"docs": [{**place, "_source": list(fields)} for place in places]}
            found = self.call("POST", f"/{index}/_mget", body)["docs"]
        except Exhausted:
            half = len(targets) // 2
            if half == 0:
                raise Exhausted(f"the document {targets[0]['_id']} is larger than `max_answer_kb`: raise it") from None
            return self._get(index, targets[:half], fields) + self._get(index, targets[half:], fields)
        for document in found:
            if "error" in document:
                raise meaning(failed(503, document["error"]), f"POST /{index}/_mget")
        return list(found)

    def bulk(self, actions: Iterable[Action], tolerated: Mapping[int, str]) -> list[int]:
        """Writes, in as many requests as the size demands. Returns the status of each action. Raises the first error whose status and
        kind is not among the tolerated ones."""
        statuses: list[int] = []
        unseen = False
        for chunk in chunks((action.lines() for action in actions), self.settings.max_request_kb * 1_024):
            parameters = {"refresh": self.settings.refresh}
            answer = self.answer("POST", "/_bulk", b"".join(chunk), "application/x-ndjson", parameters)
            items = [item for entry in answer["items"] for item in entry.values()]
            # Each action has two lines or, a deletion, one; either is one piece of the chunk.
            if len(items) != len(chunk):
                raise StorageError(f"OpenSearch answered {len(items)} of {len(chunk)} writes")
            for item in items:
                if "error" in item:
                    problem = failed(item["status"], item["error"])
                    if tolerated.get(problem.status) != problem.kind:
                        raise meaning(problem, f"a write of {item['_id']} to {item['_index']}")
                statuses.append(item["status"])
                unseen = unseen or "error" in item or item.get("result") == "noop"
        if unseen and self.settings.refresh == "wait_for":
            # Another write has just stored it, and nothing waited for that one to become visible.
            self.call("POST", f"/{self.settings.traces},{self.settings.events}/_refresh")
        return statuses


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def chunks(pieces: Iterable[bytes], limit: int) -> Iterable[list[bytes]]:
    """The pieces in groups of at most `limit` bytes, unless one piece alone has more."""
    chunk: list[bytes] = []
    size = 0
    for piece in pieces:
        if chunk and size + len(piece) > limit:
            yield chunk
            chunk, size = [], 0
        chunk.append(piece)
        size += len(piece)
    if chunk:
        yield chunk


def failed(status: int, error: Any) -> Failed:
    """The error of an answer, which is an object or a text."""
    if not isinstance(error, Mapping):
        return Failed(status, "", str(error))
    causes = error.get("root_cause")
    # `all shards failed` says less than the cause.
    cause = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], Mapping) else error
    reason = str(cause.get("reason"))
    deeper = error.get("caused_by")
    if isinstance(deeper, Mapping) and deeper.get("reason") and str(deeper["reason"]) not in reason:
        reason = f"{reason}: {deeper['reason']}"
    return Failed(status, str(cause.get("type")), reason)


def failure_of(answer: Response) -> Failed:
    """Why a request failed."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        # A proxy, or the security plugin, answers with a text.
        return Failed(answer.status, "", " ".join(answer.body[:SHOWN].decode(errors="replace").split()))
    if isinstance(body, Mapping) and "error" in body:
        return failed(answer.status, body["error"])
    return Failed(answer.status, "", json.dumps(body))


def meaning(problem: Failed, what: str) -> StorageError:
    """The error of the store."""
    message = f"OpenSearch refused {what}: {problem}"
    status, kind, reason = problem
    if kind == "cluster_block_exception" and any(sign in reason for sign in FULL):
        return Exhausted(f"{message}. Its disk is too full to write")
    if status in (408, 429) or status >= 500:
        return Unavailable(message)
    if status == 401:
        return StorageError(f"{message}. Set the header `authorization` in the grant `http`")
    if status == 403:
        return StorageError(f"{message}. Give its user the permissions that the README of the plugin lists")
    if kind == "index_not_found_exception":
        return NotFound(f"{message}. Restart the host, which creates the indexes")
    if status == 409:
        return Conflict(message)
    if status == 413:
        return Exhausted(f"{message}. Lower `max_request_kb`, or raise `http.max_content_length` of OpenSearch")
    return StorageError(message)
