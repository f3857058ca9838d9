"""HTTP without a host: a fake of what the host provides, whose calls follow the rules of WASI."""

import unittest
from types import SimpleNamespace
from typing import Any, Optional
from unittest.mock import patch

from generated import generate


def setUpModule() -> None:
    generate()


class Resource:
    """What the plugin holds, and must let go."""

    held = 0

    def __init__(self, **methods: Any) -> None:
        self.__dict__.update(methods)
        Resource.held += 1

    def __enter__(self) -> "Resource":
        return self

    def __exit__(self, *_: object) -> None:
        Resource.held -= 1


class Host:
    """Answers with `pieces`, or fails with the code of an error. Writes are limited to a few bytes at a time."""

    def __init__(self, pieces: list[bytes], status: int = 200, code: Any = None, late: bool = False) -> None:
        self.pieces, self.status, self.code, self.late = pieces, status, code, late
        self.sent = b""
        self.finished = False
        self.fields: list[tuple[str, bytes]] = []
        self.target: dict[str, Any] = {}

    def subscribe(self) -> Resource:
        return Resource(ready=lambda: True, block=lambda: None)

    def poll(self, pollables: list[Any]) -> list[int]:
        return [1] if self.late else [0]

    def handle(self, request: Any, options: Any) -> Resource:
        from componentize_py_types import Err, Ok
        from wit_world.imports.streams import StreamError_Closed

        if self.code is not None:
            raise Err(self.code)
        pieces = iter(self.pieces)

        def read(most: int) -> bytes:
            try:
                return next(pieces)
            except StopIteration:
                raise Err(StreamError_Closed()) from None

        stream = Resource(subscribe=self.subscribe, read=read)
        body = Resource(stream=lambda: stream)
        entries = [("Content-Type", b"text/plain"), ("x-a", b"1"), ("X-A", b"2")]
        answer = Resource(headers=lambda: Resource(entries=lambda: entries), consume=lambda: body, status=lambda: self.status)
        return Resource(subscribe=self.subscribe, get=lambda: Ok(Ok(answer)))

    def types(self) -> Any:
        from wit_world.imports import wasi_http_types as generated

        def write() -> Resource:
            def written(content: bytes) -> None:
                assert len(content) <= 3
                self.sent += content

            return Resource(subscribe=self.subscribe, check_write=lambda: 3, write=written, flush=lambda: None)

        def from_list(fields: list[tuple[str, bytes]]) -> object:
            self.fields = fields
            return object()

        def finish(body: Any, trailers: Optional[object]) -> None:
            self.finished = True

        def request(headers: object) -> Any:
            setters = ("set_method", "set_scheme", "set_authority", "set_path_with_query")
            keep = {name: lambda value, name=name: self.target.__setitem__(name, value) for name in setters}
            return SimpleNamespace(body=lambda: SimpleNamespace(write=write), **keep)

        fakes = {
            "OutgoingRequest": request,
            "Fields": SimpleNamespace(from_list=from_list),
            "OutgoingBody": SimpleNamespace(finish=finish),
        }
        return SimpleNamespace(**{**vars(generated), **fakes})

    def request(self, *arguments: Any, **options: Any) -> Any:
        from reflow_tracing_plugin import http

        clock = SimpleNamespace(subscribe_duration=lambda _: self.subscribe())
        with patch.multiple(http, _types=self.types(), _handler=self, _poll=self, _clock=clock):
            return http.request(*arguments, **options)


class Requests(unittest.TestCase):
    def test_a_body_is_written_as_the_host_takes_it_and_the_answer_is_read_to_its_end(self) -> None:
        from wit_world.imports import wasi_http_types as types

        host = Host([b"ab", b"", b"c"], status=503)
        before = Resource.held
        answer = host.request("POST", "https://example.com:8443/a/b?c=d#e", headers={"x-b": "ä"}, body=b"12345678", timeout=5)
        self.assertEqual((answer.status, answer.body), (503, b"abc"))
        self.assertEqual(answer.headers, {"content-type": "text/plain", "x-a": "1, 2"})
        self.assertEqual((host.sent, host.finished), (b"12345678", True))
        self.assertEqual(host.fields, [("x-b", "ä".encode()), ("content-length", b"8")])
        self.assertEqual(host.target["set_authority"], "example.com:8443")
        self.assertEqual(host.target["set_path_with_query"], "/a/b?c=d")
        self.assertEqual(host.target["set_method"], types.Method_Post())
        # The body and the stream are made before the request here, so they are not in `before`.
        self.assertEqual(Resource.held, before)

    def test_an_answer_that_is_too_large_or_late_is_an_error(self) -> None:
        from reflow_tracing_plugin import Exhausted, Unavailable

        self.assertEqual(Host([b"abc"]).request("GET", "http://a", max_bytes=3).body, b"abc")
        self.assertRaisesRegex(Exhausted, "more than 3 bytes", Host([b"ab", b"cd"]).request, "GET", "http://a", max_bytes=3)
        self.assertRaisesRegex(Unavailable, "in time", Host([b"ab"], late=True).request, "GET", "http://a", timeout=1)

    def test_errors_say_what_to_do(self) -> None:
        from reflow_tracing_plugin import Exhausted, InvalidArgument, Unavailable
        from wit_world.imports import wasi_http_types as types

        cases = [
            (types.ErrorCode_HttpRequestDenied(), InvalidArgument, 'grants = { http = ["http://a:1"] }'),
            (types.ErrorCode_TlsCertificateError(), InvalidArgument, "ca"),
            (types.ErrorCode_ConnectionRefused(), Unavailable, "connection refused"),
            (types.ErrorCode_InternalError("the host's log says why"), Unavailable, "log says why"),
            (types.ErrorCode_HttpResponseBodySize(None), Exhausted, "result_mb"),
        ]
        for code, expected, part in cases:
            with self.assertRaises(expected) as raised:
                Host([], code=code).request("GET", "http://a:1/b")
            self.assertIn(part, str(raised.exception))

    def test_an_invalid_url_is_refused_and_not_shown(self) -> None:
        from reflow_tracing_plugin import InvalidArgument

        for url in ("", "a/b", "ftp://a", "http://", "http://a:0", "http://a:b", "http://user:password@a", "http://a/b c", "http://a\r\n"):
            with self.assertRaises(InvalidArgument) as raised:
                Host([]).request("GET", url)
            self.assertNotIn("password", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
