"""Why a call failed. Operators read the messages: name what failed, why, and what to do."""

from __future__ import annotations


class StorageError(Exception):
    """A failure that has no class of its own. The host calls again only if it is `retryable`."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


class InvalidArgument(StorageError):
    """The request or the configuration of the plugin is invalid."""


class NotFound(StorageError):
    """Something that the call needs does not exist."""


class Conflict(StorageError):
    """A conflict with a concurrent write. The host calls again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class Unavailable(StorageError):
    """The database can't be reached or is overloaded. The host calls again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class Exhausted(StorageError):
    """A limit of the store is reached: disk, quota, size."""


class Unsupported(StorageError):
    """This plugin does not do that."""
