"""SQL databases that the operator has granted, by label. The plugin sees neither address nor password.

    database = Connection.open()
    with database.begin() as transaction:
        transaction.execute("DELETE FROM stock WHERE item = ?", ["apple"])
    rows = database.query("SELECT count(*) FROM stock").all()

Statements use the placeholders of the database's own dialect: `?` for SQLite and MySQL, `$1` for PostgreSQL. A value is `None`, a
`bool`, an `int` of 64 bits, a `float`, a `str`, `bytes`, or a `UUID`, which is bound as its 16 bytes.
"""

# mypy: disable-error-code="no-any-return"
# What the host returns has the type that the contract gives it.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional, Union
from uuid import UUID

from .batch import EventBatch
from .bindings import imported
from .capability import raising
from .errors import Exhausted, InvalidArgument, StorageError, Unavailable

_sql = imported("sql")

#: Rows per call: a compromise between the number of calls and the memory.
FETCH = 1_000

Value = Union[None, bool, int, float, str, bytes, UUID]


@dataclass(frozen=True)
class Field:
    """Binds a field of the event: a UUID as 16 bytes, or as the database's own type for it, an absent value as NULL."""

    name: str


@dataclass(frozen=True)
class High:
    """Binds the high half of a UUID field, as the bits of a signed integer."""

    name: str


@dataclass(frozen=True)
class Low:
    """Binds the low half of a UUID field, as the bits of a signed integer."""

    name: str


@dataclass(frozen=True)
class Fixed:
    """Binds the same value for every row."""

    value: Value


@dataclass(frozen=True)
class LookedUp:
    """Binds the value that a statement returns for a UUID field, which is its only parameter. The statement may also insert it. It
    runs once for each distinct UUID of the rows, in the transaction of the call."""

    field: str
    statement: str


Binding = Union[Field, High, Low, Fixed, LookedUp]


class Cursor:
    """The rows of an answer, read on demand."""

    def __init__(self, handle: Any) -> None:
        """The cursor behind a handle of the generated bindings; see `query`."""
        self._handle = handle

    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._handle.columns()

    def next(self, max_rows: int = FETCH) -> list[tuple[Value, ...]]:
        """Up to `max_rows` rows, fewer when they are large; none when there are no more."""
        with raising(_error):
            rows = self._handle.next(max_rows)
        return [tuple(getattr(value, "value", None) for value in row) for row in rows]

    def __iter__(self) -> Iterator[tuple[Value, ...]]:
        """All remaining rows."""
        while rows := self.next():
            yield from rows

    def all(self) -> list[tuple[Value, ...]]:
        """All remaining rows."""
        return list(self)


class _Statements:
    """What a connection and a transaction have in common."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def execute(self, statement: str, parameters: Iterable[Value] = ()) -> int:
        """Runs a statement; several, separated by semicolons, when there are no parameters. Returns how many rows the last one
        changed."""
        with raising(_error):
            return self._handle.execute(statement, _values(parameters))

    def execute_many(self, statement: str, rows: Iterable[Iterable[Value]]) -> int:
        """Runs a statement once a row of parameters: all or none. Returns how many rows changed in all. Write three dots after a
        group of parameters, as in `VALUES (?, ?), ...`, for a group that stands for as many rows as there are."""
        with raising(_error):
            return self._handle.execute_many(statement, [_values(row) for row in rows])

    def insert_batch(self, statement: str, bindings: Sequence[Binding], events: EventBatch) -> int:
        """Runs a statement once an event of the batch: all or none. The events never enter the plugin."""
        with raising(_error):
            return self._handle.insert_batch(statement, [_binding(binding) for binding in bindings], events.handle)

    def query(self, statement: str, parameters: Iterable[Value] = ()) -> Cursor:
        """Runs a query. An open cursor takes a connection, or the transaction that it is in."""
        with raising(_error):
            return Cursor(self._handle.query(statement, _values(parameters)))

    def query_events(self, statement: str, parameters: Iterable[Value] = (), body: int = 0) -> EventBatch:
        """Runs a query whose column number `body`, from 0, holds bodies of events. The events never enter the plugin."""
        with raising(_error):
            return EventBatch.of_handle(self._handle.query_events(statement, _values(parameters), body))


class Connection(_Statements):
    """A database. Each call may run on another connection: settings, temporary tables and locks are gone after the call."""

    @classmethod
    def open(cls, label: str = "default") -> Connection:
        """Opens the database that the operator granted under `label`."""
        with raising(_error):
            return cls(_sql.Connection.open(label))

    def dialect(self) -> str:
        """`sqlite`, `postgresql` or `mysql`, which is MariaDB's too; later hosts may add others."""
        return self._handle.dialect()

    def begin(self) -> Transaction:
        """Begins a transaction, which takes the connection until it ends."""
        with raising(_error):
            return Transaction(self._handle.begin())


class Transaction(_Statements):
    """A transaction: `with` commits it, or rolls it back after an exception."""

    def commit(self) -> None:
        """Commits it. It can't be used any more."""
        with raising(_error):
            _sql.Transaction.commit(self._handle)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        if error is None:
            self.commit()
        else:
            # A transaction that is dropped without a commit is rolled back.
            self._handle.__exit__(None, None, None)


def _values(parameters: Iterable[Value]) -> list[Any]:
    return [_value(value) for value in parameters]


def _value(value: Value) -> Any:
    if value is None:
        return _sql.Value_Null()
    if isinstance(value, UUID):
        return _sql.Value_Blob(value.bytes)
    # A bool is an int too, so it comes first.
    cases = [
        (bool, _sql.Value_Boolean),
        (int, _sql.Value_Integer),
        (float, _sql.Value_Real),
        (str, _sql.Value_Text),
        (bytes, _sql.Value_Blob),
    ]
    for kind, case in cases:
        if isinstance(value, kind):
            return case(value)
    raise TypeError(f"a parameter can't be of the type {type(value).__name__}")


def _binding(binding: Binding) -> Any:
    if isinstance(binding, Fixed):
        return _sql.Binding_Fixed(_value(binding.value))
    if isinstance(binding, LookedUp):
        return _sql.Binding_LookedUp(_sql.Lookup(binding.field, binding.statement))
    cases = {Field: _sql.Binding_Field, High: _sql.Binding_High, Low: _sql.Binding_Low}
    return cases[type(binding)](binding.name)


def _error(case: str, value: Any) -> StorageError:
    if case == "NoSuchLabel":
        return InvalidArgument(f'no database is granted under the label `{value}`: add grants = {{ sql = {{ {value} = ".." }} }}')
    if case == "AccessDenied":
        return InvalidArgument(value)
    if case == "PoolExhausted":
        return Unavailable("too many connections to the database are in use")
    if case == "Timeout":
        return Unavailable("the database did not answer in time")
    if case == "ConnectionLost":
        return Unavailable(value)
    if case == "LimitExceeded":
        return Exhausted(value)
    if case == "Database":
        return StorageError(f"{value.message} ({value.code})", retryable=value.retryable)
    return StorageError(value)
