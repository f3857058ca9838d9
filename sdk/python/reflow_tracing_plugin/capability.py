"""Errors of capabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def raising(converted: Callable[[str, Any], Exception]) -> Iterator[None]:
    """Raises what `converted` makes of an error of the generated bindings: from the name of its case and its value."""
    try:
        yield
    except Exception as error:
        value = getattr(error, "value", None)
        case = type(value).__name__.partition("_")[2]
        if not case:
            raise
        failure = converted(case, getattr(value, "value", None))
    else:
        return
    # Outside of `except`, so that a traceback shows one error and keeps no frame of the bindings.
    raise failure
