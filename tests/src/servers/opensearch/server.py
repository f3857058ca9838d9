"""A stand-in for OpenSearch, for tests: the part of its HTTP API that the plugin `opensearch` uses, in memory.

    python3 server.py [--authorization VALUE]

Prints its address, and ends when its standard input does. `POST /_next {"path": "_bulk", "answers": [{"status": 429, "body": {}}]}` sets what
the next requests to such a path are answered with instead of being done, and is not part of OpenSearch.
"""

import argparse
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from index import SHARDS, Index
from problem import Problem, no_index

#: What `http.max_content_length` is unless it is set.
MOST_BYTES = 100 * 1024 * 1024


class Cluster:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.indexes: dict[str, Index] = {}
        self.templates: dict[str, Any] = {}
        #: Answers that are given instead of doing what is asked.
        self.instead: list[tuple[str, dict[str, Any]]] = []

    def named(self, names: str) -> list[Index]:
        for name in names.split(","):
            if name not in self.indexes:
                raise no_index(name)
        return [self.indexes[name] for name in names.split(",")]

    def for_write(self, name: str) -> Index:
        """The index, which a write creates if it is missing."""
        if name not in self.indexes:
            matching = [one for one in self.templates.values() if name in one["index_patterns"]]
            definition = matching[0]["template"] if matching else {}
            self.create(name, definition)
        return self.indexes[name]

    def create(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        if name in self.indexes:
            reason = f"index [{name}/{self.indexes[name].uuid}] already exists"
            raise Problem(400, "resource_already_exists_exception", reason, index=name, index_uuid=self.indexes[name].uuid)
        if name != name.lower() or re.search(r'[\\/*?"<>| ,#:]', name) or name[:1] in "-_+":
            raise Problem(400, "invalid_index_name_exception", f"Invalid index name [{name}], must be lowercase", index=name)
        settings = flat(definition.get("settings", {}))
        self.indexes[name] = Index(name, settings, definition.get("mappings", {}))
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    # One method for each operation of the API. Paths are below.

    def mapping(self, names: str, **_: Any) -> Any:
        return {index.name: {"mappings": index.mappings} for index in self.named(names)}

    def settings(self, names: str, wanted: str, **_: Any) -> Any:
        prefix = wanted.rstrip("*")
        shown = {index.name: {k: v for k, v in index.settings.items() if k.startswith(prefix)} for index in self.named(names)}
        # Without a setting to show, an index is left out.
        return {name: {"settings": settings} for name, settings in shown.items() if settings}

    def set(self, names: str, body: Any, **_: Any) -> Any:
        for index in self.named(names):
            index.settings.update(flat(body))
        return {"acknowledged": True}

    def template(self, name: str, body: Any, **_: Any) -> Any:
        self.templates[name] = body
        return {"acknowledged": True}

    def put(self, name: str, body: Any, **_: Any) -> Any:
        return self.create(name, body or {})

    def drop(self, names: str, **_: Any) -> Any:
        for index in self.named(names):
            del self.indexes[index.name]
        return {"acknowledged": True}

    def refresh(self, names: str, **_: Any) -> Any:
        for index in self.named(names):
            index.refresh()
        return {"_shards": SHARDS}

    def health(self, names: str, **_: Any) -> Any:
        if any(name not in self.indexes for name in names.split(",")):
            return 408, {"cluster_name": "stand-in", "status": "red", "timed_out": True}
        return {"cluster_name": "stand-in", "status": "green", "timed_out": False}

    def stats(self, names: str, **_: Any) -> Any:
        size = sum(len(json.dumps(document.source)) for index in self.named(names) for document in index.documents.values())
        return {"_shards": SHARDS, "_all": {"primaries": {"store": {"size_in_bytes": size}}, "total": {"store": {"size_in_bytes": size}}}}

    def count(self, names: str, body: Any, **_: Any) -> Any:
        (index,) = self.named(names)
        return {"count": len(index.matching(body["query"])), "_shards": SHARDS}

    def search(self, names: str, body: Any, parameters: dict[str, str], **_: Any) -> Any:
        (index,) = self.named(names)
        try:
            return index.search(body, parameters.get("routing"))
        except Problem as problem:
            raise problem.of_search() from None

    def several(self, names: str, body: Any, **_: Any) -> Any:
        (index,) = self.named(names)
        return {"docs": [index.get(one["_id"], one.get("_source", True)) for one in body["docs"]]}

    def one(self, name: str, id: str, **_: Any) -> Any:
        (index,) = self.named(name)
        found = index.get(id, True)
        return found if found["found"] else (404, found)

    def delete_by_query(self, names: str, body: Any, parameters: dict[str, str], **_: Any) -> Any:
        (index,) = self.named(names)
        most = parameters.get("max_docs")
        answer = index.delete_by_query(body["query"], None if most is None else int(most), parameters.get("conflicts") == "proceed")
        if parameters.get("refresh") == "true":
            index.refresh()
        return answer

    def bulk(self, text: bytes, parameters: dict[str, str], **_: Any) -> Any:
        if not text.endswith(b"\n"):
            reason = "The bulk request must be terminated by a newline [\\n]"
            raise Problem(400, "illegal_argument_exception", reason)
        lines = iter(text.split(b"\n")[:-1])
        items = []
        touched = set()
        for line in lines:
            ((action, meta),) = json.loads(line).items()
            if action not in ("create", "index", "update", "delete"):
                raise Problem(400, "illegal_argument_exception", f"Malformed action/metadata line, expected a known action but found [{action}]")
            body = None if action == "delete" else json.loads(next(lines))
            try:
                index = self.for_write(meta["_index"])
                touched.add(index.name)
                item = index.write(action, meta, body)
            except Problem as problem:
                item = {"_index": meta["_index"], "_id": meta["_id"], "status": problem.status, "error": problem.cause}
            items.append({action: item})
        if parameters.get("refresh") == "true" or parameters.get("refresh") == "wait_for" and any("result" in i for e in items for i in e.values()):
            for name in touched:
                self.indexes[name].refresh()
        return {"took": 1, "errors": any("error" in item for entry in items for item in entry.values()), "items": items}

    def next(self, body: Any, **_: Any) -> Any:
        self.instead = [(body["path"], answer) for answer in body["answers"]]
        return {"acknowledged": True}


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by their full names, as texts."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict):
            found.update(flat(value, f"{full}."))
        elif value is not None:
            found[full if full.startswith("index.") else f"index.{full}"] = json.dumps(value) if isinstance(value, bool) else str(value)
    return found


NAME = r"(?P<name>[^/_][^/]*)"
NAMES = r"(?P<names>[^/_][^/]*)"
PATHS = [
    ("POST", r"/_bulk", Cluster.bulk),
    ("POST", rf"/{NAMES}/_search", Cluster.search),
    ("POST", rf"/{NAMES}/_count", Cluster.count),
    ("POST", rf"/{NAMES}/_mget", Cluster.several),
    ("GET", rf"/{NAME}/_doc/(?P<id>[^/]+)", Cluster.one),
    ("POST", rf"/{NAMES}/_delete_by_query", Cluster.delete_by_query),
    ("POST", rf"/{NAMES}/_refresh", Cluster.refresh),
    ("GET", rf"/{NAMES}/_mapping", Cluster.mapping),
    ("GET", rf"/{NAMES}/_settings/(?P<wanted>[^/]+)", Cluster.settings),
    ("PUT", rf"/{NAMES}/_settings", Cluster.set),
    ("GET", rf"/{NAMES}/_stats/store", Cluster.stats),
    ("GET", rf"/_cluster/health/{NAMES}", Cluster.health),
    ("PUT", r"/_index_template/(?P<name>[^/]+)", Cluster.template),
    ("PUT", rf"/{NAME}", Cluster.put),
    ("DELETE", rf"/{NAMES}", Cluster.drop),
    ("POST", r"/_next", Cluster.next),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster = Cluster()
    authorization = None
    # One packet for an answer.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if length > MOST_BYTES:
            return self.send(413, None)
        text = self.rfile.read(length)
        url = urlsplit(self.path)
        path = unquote(url.path)
        # A test may always say what comes next.
        if self.authorization not in (None, self.headers.get("authorization")) and path != "/_next":
            return self.send(401, "Unauthorized")
        with self.cluster.lock:
            for place, (part, instead) in enumerate(self.cluster.instead):
                if part in path:
                    del self.cluster.instead[place]
                    return self.send(instead["status"], instead["body"])
            try:
                status, body = self.done(path, {name: values[-1] for name, values in parse_qs(url.query).items()}, text)
            except Problem as problem:
                status, body = problem.status, problem.body()
        self.send(status, body)

    def done(self, path: str, parameters: dict[str, str], text: bytes) -> tuple[int, Any]:
        for method, pattern, operation in PATHS:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                is_bulk = operation is Cluster.bulk
                wanted = "application/x-ndjson" if is_bulk else "application/json"
                if text and self.headers.get("content-type") != wanted:
                    return 406, {"error": f"Content-Type header [{self.headers.get('content-type')}] is not supported", "status": 406}
                body = json.loads(text) if text and not is_bulk else None
                answer = operation(self.cluster, **found.groupdict(), body=body, text=text, parameters=parameters)
                return answer if isinstance(answer, tuple) else (200, answer)
        raise Problem(400, "illegal_argument_exception", f"no handler found for uri [{self.path}] and method [{self.command}]")

    def send(self, status: int, body: Any) -> None:
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain" if isinstance(body, str) else "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--authorization", help="what the header `authorization` of each request must be")
    Handler.authorization = parser.parse_args().authorization
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The test that has started it ends.
    sys.stdin.read()


if __name__ == "__main__":
    main()
