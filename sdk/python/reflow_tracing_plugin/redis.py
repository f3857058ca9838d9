"""Redis servers that the operator has granted, by label. Keys live under the prefix of the grant, which the plugin does not see.

    server = Connection.open()
    server.command("SET", "visits", 1)
    first, second = server.pipeline([("GET", "visits"), ("ZRANGE", "times", 0, 9)])

A part of a command is `bytes`, a `str`, an `int`, which is written in decimal digits, or a `UUID`, whose 16 bytes it is.
"""

# mypy: disable-error-code="no-any-return"
# What the host returns has the type that the contract gives it.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union
from uuid import UUID

from .batch import EventBatch
from .bindings import imported
from .capability import raising
from .errors import Exhausted, InvalidArgument, StorageError, Unavailable
from .parts import Field, Present, Sortable

__all__ = ["Command", "Connection", "Field", "Joined", "Part", "Present", "Reply", "Sortable", "Template", "Value"]

_redis = imported("redis")

Value = Union[bytes, str, int, UUID]

#: The name of a command and its arguments.
Command = Sequence[Value]

#: What the server answers: `None`, an `int`, a `str` for a status, `bytes`, a list, or the error of one command of a pipeline.
Reply = Union[None, int, str, bytes, StorageError, list["Reply"]]

#: A piece of an argument, which the host may fill in for each event.
Part = Union[Value, Field, Sortable, Present]


@dataclass(frozen=True)
class Joined:
    """An argument of several parts, which are joined."""

    parts: Sequence[Part]

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "parts", parts)


#: A command for each event.
Template = Sequence[Union[Part, Joined]]


class Connection:
    """A server. Its methods raise a `StorageError` where the server fails."""

    def __init__(self, handle: Any) -> None:
        """The server behind a handle of the generated bindings; see `open`."""
        self._handle = handle

    @classmethod
    def open(cls, label: str = "default") -> Connection:
        """The server that the operator granted under `label`."""
        with raising(_error):
            return cls(_redis.Connection.open(label))

    def command(self, *parts: Value) -> Reply:
        """Runs a command. Raises the error of one that the server refuses."""
        (reply,) = self.pipeline([parts])
        if isinstance(reply, StorageError):
            raise reply
        return reply

    def pipeline(self, commands: Iterable[Command]) -> list[Reply]:
        """Runs the commands in one round trip, in order. One that the server refuses, whose reply is the error, does not keep the others
        from running."""
        with raising(_error):
            return _nested(self._handle.pipeline(_commands(commands)))

    def run(self, commands: Iterable[Command]) -> list[Reply]:
        """The same, but raises the first error of a command."""
        replies = self.pipeline(commands)
        for reply in replies:
            if isinstance(reply, StorageError):
                raise reply
        return replies

    def atomically(self, expected: Mapping[Value, Optional[Value]], commands: Iterable[Command]) -> Optional[list[Reply]]:
        """Runs the commands as one transaction if every key has the value that is expected of it (`None`: the key does not exist).
        Otherwise nothing runs and the answer is `None`: read again, then retry."""
        expectations = [
            _redis.Expectation(_bytes(key), None if value is None else _bytes(value)) for key, value in expected.items()
        ]
        with raising(_error):
            replies = self._handle.atomically(expectations, _commands(commands))
        return None if replies is None else _nested(replies)

    def pipeline_batch(
        self, commands: Iterable[Template], events: EventBatch, unless: Optional[Template] = None
    ) -> int:
        """Runs the commands once per event of the batch; the events never enter the plugin. An event is skipped when `unless` answers
        with anything but 0 or nil, or when an earlier event of the batch had the same `unless`. Returns how many commands ran."""
        templates = [_template(command) for command in commands]
        with raising(_error):
            return self._handle.pipeline_batch(None if unless is None else _template(unless), templates, events.handle)

    def eval(self, script: str, keys: Iterable[Value] = (), arguments: Iterable[Value] = ()) -> Reply:
        """Runs a Lua script, which the server caches. Needs `scripts = true` in the grant."""
        with raising(_error):
            (reply,) = _nested(self._handle.eval(script, list(map(_bytes, keys)), list(map(_bytes, arguments))))
        if isinstance(reply, StorageError):
            raise reply
        return reply

    def query_events(self, commands: Iterable[Command]) -> EventBatch:
        """Runs commands that answer with bodies of events, nested in arrays or not; nil is skipped. The events never enter the plugin."""
        with raising(_error):
            return EventBatch.of_handle(self._handle.query_events(_commands(commands)))


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, str):
        return value.encode()
    # A bool is an int too, but has no meaning here.
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    raise TypeError(f"a part of a command can't be of the type {type(value).__name__}")


def _commands(commands: Iterable[Command]) -> list[list[bytes]]:
    return [[_bytes(part) for part in command] for command in commands]


def _template(command: Template) -> list[list[Any]]:
    arguments = [argument.parts if isinstance(argument, Joined) else [argument] for argument in command]
    return [[_part(part) for part in parts] for parts in arguments]


def _part(part: Part) -> Any:
    if isinstance(part, Field):
        return _redis.Part_Field(part.name)
    if isinstance(part, Sortable):
        return _redis.Part_Sortable(part.name)
    if isinstance(part, Present):
        return _redis.Part_Present(part.name)
    return _redis.Part_Fixed(_bytes(part))


def _nested(replies: Iterable[Any]) -> list[Reply]:
    """The replies, which come one after another in reading order."""
    rest = iter(replies)
    return [_reply(reply, rest) for reply in rest]


def _reply(reply: Any, rest: Iterator[Any]) -> Reply:
    case = type(reply).__name__.partition("_")[2]
    if case == "Nil":
        return None
    if case == "Array":
        return [_reply(next(rest), rest) for _ in range(reply.value)]
    return _refused(reply.value) if case == "Failed" else reply.value


def _refused(message: str) -> StorageError:
    code = message.partition(" ")[0]
    if code == "OOM":
        return Exhausted(message)
    # The server starts, has lost its primary, or runs a script.
    if code in ("LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY", "MISCONF", "NOREPLICAS"):
        return Unavailable(message)
    return StorageError(message)


def _error(case: str, value: Any) -> StorageError:
    if case == "NoSuchLabel":
        return InvalidArgument(f'no server is granted under the label `{value}`: add grants = {{ redis = {{ {value} = ".." }} }}')
    if case == "AccessDenied":
        return InvalidArgument(value)
    if case == "PoolExhausted":
        return Unavailable("too many connections to the server are in use")
    if case == "Timeout":
        return Unavailable("the server did not answer in time")
    if case == "ConnectionLost":
        return Unavailable(value)
    if case == "LimitExceeded":
        return Exhausted(value)
    return _refused(value) if case == "Server" else StorageError(value)
