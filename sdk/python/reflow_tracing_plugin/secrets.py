"""Secrets that the operator has granted, by label."""

# mypy: disable-error-code="no-any-return"
# What the host returns has the type that the contract gives it.

from __future__ import annotations

from .bindings import imported
from .capability import raising
from .errors import InvalidArgument, Unavailable

_secrets = imported("secrets")


def get(label: str) -> bytes:
    """The current value of the secret. A replaced secret takes effect at the next call."""
    with raising(_error):
        return _secrets.get(label)


def _error(case: str, value: object) -> Exception:
    if case == "NoSuchLabel":
        return InvalidArgument(f'no secret is granted under the label `{value}`: add grants = {{ secrets = {{ {value} = ".." }} }}')
    return Unavailable(str(value))
