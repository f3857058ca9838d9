"""HTTP requests to the origins that the operator granted: `grants = { http = ["https://api.example.com"] }`.

    answer = request("POST", "https://api.example.com/traces", headers={"content-type": "application/json"}, body=b"{}")
    if answer.status >= 400:
        raise Unavailable(f"the service answered {answer.status}")

The world needs `import wasi:http/outgoing-handler@0.2.12;`. The headers of the grant, such as a token, are set by the host: the plugin
does not see them. No redirect is followed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import urlsplit

from .bindings import generated
from .errors import Exhausted, InvalidArgument, StorageError, Unavailable

_handler = generated("wit_world.imports.outgoing_handler")
_types = generated("wit_world.imports.wasi_http_types")
_poll = generated("wit_world.imports.poll")
_clock = generated("wit_world.imports.monotonic_clock")

#: The size that an answer may have, unless `request` is told otherwise.
MAX_BYTES = 16 * 1024 * 1024

#: Bytes per call of the host.
_CHUNK = 64 * 1024

#: Errors that another attempt does not change, and what to do.
_FINAL = {
    "HttpRequestDenied": 'it is not granted: add grants = {{ http = ["{origin}"] }}',
    "TlsCertificateError": "its certificate is not trusted: set `ca` in the grant",
    "HttpRequestUriInvalid": "the URL is not valid",
    "HttpRequestMethodInvalid": "the method is not valid",
}


class AnswerTooLarge(Exhausted):
    """An answer has more bytes than it may have."""


@dataclass(frozen=True)
class Response:
    """An answer, whatever its status."""

    status: int
    #: By name in lower case. Of several fields with one name, the values are joined with `, `.
    headers: Mapping[str, str]
    body: bytes


def request(
    method: str,
    url: str,
    *,
    headers: Optional[Mapping[str, str]] = None,
    body: bytes = b"",
    timeout: Optional[float] = None,
    max_bytes: int = MAX_BYTES,
) -> Response:
    """Sends a request and reads the whole answer, of `max_bytes` at most, within `timeout` seconds. The host's time limit of the call
    applies in any case.

    Raises `Unavailable` if there is no answer in time, `AnswerTooLarge` if it is too large, `InvalidArgument` if the origin is not
    granted or an argument is invalid.
    """
    target = _Target.of(url)
    end = None if timeout is None else time.monotonic() + timeout
    with ExitStack() as opened:
        # The host takes the request, and then its body: neither is closed here.
        outgoing = _outgoing(method, target, headers or {}, body)
        sent = outgoing.body()
        try:
            # The time limit is kept here, not by options of the request: wasmtime 48 never frees their handle.
            future = opened.enter_context(_handler.handle(outgoing, None))
        except Exception as error:
            raise _converted(error, target) from None
        _write(sent, body, target, end)
        _wait(future, target, end)
        answer = opened.enter_context(_received(future, target))
        with answer.headers() as fields:
            received = _joined(fields.entries())
        content = opened.enter_context(answer.consume())
        stream = opened.enter_context(content.stream())
        return Response(answer.status(), received, _read(stream, target, max_bytes, end))


@dataclass(frozen=True)
class _Target:
    scheme: str
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> _Target:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            valid = False
        # What is invalid may be a password, so the message does not show it.
        if not valid or "@" in parts.netloc or any(character.isspace() for character in url):
            raise InvalidArgument("the URL must be scheme://host[:port][/path], with http or https, and without a user or spaces")
        return cls(parts.scheme, parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"


def _outgoing(method: str, target: _Target, headers: Mapping[str, str], body: bytes) -> Any:
    fields = [(name, value.encode()) for name, value in headers.items()]
    if body or method in ("POST", "PUT", "PATCH"):
        fields.append(("content-length", b"%d" % len(body)))
    try:
        outgoing = _types.OutgoingRequest(_types.Fields.from_list(fields))
        known = getattr(_types, f"Method_{method.capitalize()}", None)
        outgoing.set_method(_types.Method_Other(method) if known is None else known())
        outgoing.set_scheme(_types.Scheme_Http() if target.scheme == "http" else _types.Scheme_Https())
        outgoing.set_authority(target.authority)
        outgoing.set_path_with_query(target.path)
    except Exception as error:
        if not hasattr(error, "value"):
            raise
        problem = type(error.value).__name__.replace("_", " ")
        raise InvalidArgument(f"a request to {target.origin} has an invalid URL, method or header ({problem})") from None
    return outgoing


def _wait(resource: Any, target: _Target, end: Optional[float]) -> None:
    """Waits until a future or a stream is ready."""
    with resource.subscribe() as ready:
        if end is None:
            ready.block()
            return
        left = int((end - time.monotonic()) * 1e9)
        if left > 0:
            with _clock.subscribe_duration(left) as alarm:
                if 0 in _poll.poll([ready, alarm]):
                    return
        elif ready.ready():
            return
    raise Unavailable(f"{target.origin} did not answer in time")


def _write(body: Any, content: bytes, target: _Target, end: Optional[float]) -> None:
    """Writes the body and ends it. A server that answers before it has read the body is heard, so a failure here is not an error."""
    try:
        with body.write() as stream:
            view = memoryview(content)
            while view:
                _wait(stream, target, end)
                room = min(stream.check_write(), _CHUNK)
                if room:
                    stream.write(bytes(view[:room]))
                    view = view[room:]
            stream.flush()
            _wait(stream, target, end)
        _types.OutgoingBody.finish(body, None)
    except Exception as error:
        if not hasattr(error, "value"):
            raise


def _received(future: Any, target: _Target) -> Any:
    result = future.get()
    # A result in a result: the outer one fails only when it was taken before.
    inner = None if result is None else result.value
    if type(inner).__name__ != "Ok":
        raise _converted(inner, target)
    return inner.value


def _read(stream: Any, target: _Target, max_bytes: int, end: Optional[float]) -> bytes:
    pieces = bytearray()
    while True:
        _wait(stream, target, end)
        try:
            pieces += stream.read(_CHUNK)
        except Exception as error:
            case = type(getattr(error, "value", None)).__name__
            if case == "StreamError_Closed":
                return bytes(pieces)
            if case != "StreamError_LastOperationFailed":
                raise
            with error.value.value as cause:  # type: ignore[attr-defined]
                code = _types.http_error_code(cause)
                text = cause.to_debug_string()
            if code is None:
                raise Unavailable(f"the answer of {target.origin} ended early: {text}") from None
            raise _of_code(code, target) from None
        if len(pieces) > max_bytes:
            raise AnswerTooLarge(f"the answer of {target.origin} has more than {max_bytes} bytes")


def _joined(entries: list[tuple[str, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in entries:
        text = value.decode("latin-1")
        joined[name.lower()] = f"{joined[name.lower()]}, {text}" if name.lower() in joined else text
    return joined


def _converted(error: Any, target: _Target) -> Exception:
    """The error of an exception, or of a result, that holds a code. Another exception is a mistake, and stays."""
    code = getattr(error, "value", None)
    if type(code).__name__.startswith("ErrorCode_"):
        return _of_code(code, target)
    return error if isinstance(error, Exception) else StorageError(f"the request to {target.origin} was lost")


def _of_code(code: Any, target: _Target) -> StorageError:
    case = type(code).__name__.partition("_")[2]
    if case in _FINAL:
        return InvalidArgument(f"{target.origin} can't be reached: {_FINAL[case].format(origin=target.origin)}")
    if case == "HttpRequestBodySize":
        return Exhausted(f"a request to {target.origin} is larger than `limits.result_mb`")
    if case == "HttpResponseBodySize":
        return AnswerTooLarge(f"an answer of {target.origin} is larger than `limits.result_mb`")
    detail = getattr(code, "value", None)
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in case).strip()
    return Unavailable(f"{target.origin} can't be reached: {detail if isinstance(detail, str) else words}")
