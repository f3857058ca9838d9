"""Bodies as Reflow's JSON, and JSON as bodies. Nothing is lost: what is turned into JSON and back is the same body. Always granted; the
world needs `import reflow:capabilities/render@0.1.1;`.

An event of a batch has its JSON in the column `json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from .batch import slices, texts
from .bindings import imported
from .errors import InvalidArgument

_render = imported("render")
_batch = imported("batch", "storage")


def traces_to_json(bodies: Iterable[bytes]) -> list[str]:
    """A JSON object for each body of a header, which has no events."""
    return _to_json(_render.headers_to_json, bodies)


def traces_from_json(json: Iterable[str]) -> list[bytes]:
    """The body of each header. Raises `InvalidArgument` for what is not one."""
    return _from_json(_render.headers_from_json, json)


def events_to_json(bodies: Iterable[bytes]) -> list[str]:
    """A JSON object for each body of an event."""
    return _to_json(_render.events_to_json, bodies)


def events_from_json(json: Iterable[str]) -> list[bytes]:
    """The body of each event. Raises `InvalidArgument` for what is not one."""
    return _from_json(_render.events_from_json, json)


def _to_json(call: Any, bodies: Iterable[bytes]) -> list[str]:
    pieces = list(bodies)
    answer = _checked(call, _batch.Blobs(b"".join(pieces), list(accumulate(map(len, pieces)))))
    return texts(answer.text, answer.ends)


def _from_json(call: Any, json: Iterable[str]) -> list[bytes]:
    pieces = list(json)
    # Ends count bytes.
    ends = list(accumulate(len(piece.encode()) for piece in pieces))
    answer = _checked(call, _batch.Texts("".join(pieces), ends))
    return slices(answer.data, answer.ends)


def _checked(call: Any, argument: Any) -> Any:
    """Calls a function whose error is a text."""
    try:
        return call(argument)
    except Exception as error:
        text = getattr(error, "value", None)
        if isinstance(text, str):
            raise InvalidArgument(text) from None
        raise
