"""The parts of the SDK that need no host, and those that need only the types that componentize-py generates."""

import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

from generated import generate


def setUpModule() -> None:
    generate()


class Keys(unittest.TestCase):
    NUMBERS = [-(2**63), -(2**63) + 1, -1, 0, 1, 255, 256, 2**62, 2**63 - 1]

    def test_numbers_sort_as_bytes_and_are_read_again(self) -> None:
        from reflow_tracing_plugin.keys import number_of, sortable

        keys = [sortable(number) for number in self.NUMBERS]
        self.assertEqual(sorted(keys), keys)
        self.assertEqual([number_of(key) for key in keys], self.NUMBERS)
        self.assertEqual(sortable(0), b"\x80" + bytes(7))

    def test_numbers_out_of_range_are_refused(self) -> None:
        from reflow_tracing_plugin.keys import number_of, sortable

        for number in (-(2**63) - 1, 2**63):
            self.assertRaises(OverflowError, sortable, number)
        self.assertRaises(ValueError, number_of, b"short")


class Values(unittest.TestCase):
    def test_a_uuid_survives_its_halves(self) -> None:
        from reflow_tracing_plugin.uuids import halves, joined

        for number in (0, 1, 2**64 - 1, 2**64, 2**127 + 5, 2**128 - 1):
            self.assertEqual(joined(*halves(UUID(int=number))).int, number)

    def test_times_are_exact_to_the_microsecond(self) -> None:
        from reflow_tracing_plugin import datetime_of, timestamp_of

        time = datetime(2026, 11, 22, 18, 14, 34, 280_123, tzinfo=timezone.utc)
        self.assertEqual(datetime_of(timestamp_of(time) + 999), time)
        east = timezone(timedelta(hours=2))
        self.assertEqual(timestamp_of(time.astimezone(east)), timestamp_of(time))
        self.assertEqual(datetime_of(-1), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc))
        self.assertRaises(ValueError, timestamp_of, datetime(2026, 1, 1))

    def test_columns_are_cut_at_their_ends_which_count_bytes(self) -> None:
        from reflow_tracing_plugin.batch import slices, texts, uuids

        parts = ["", "é", "ab", "", "\U0001f4be", ""]
        ends, total = [], 0
        for part in parts:
            total += len(part.encode())
            ends.append(total)
        self.assertEqual(texts("".join(parts), ends), parts)
        self.assertEqual(texts("abc", [0, 1, 3]), ["", "a", "bc"])
        self.assertEqual(slices(b"abc", [0, 1, 3]), [b"", b"a", b"bc"])
        self.assertEqual(uuids([0, 5, 1, 0]), [UUID(int=5), UUID(int=2**64)])


class Errors(unittest.TestCase):
    def test_each_class_is_a_case_of_the_contract(self) -> None:
        import reflow_tracing_plugin as sdk
        from reflow_tracing_plugin.export import to_contract

        for name in ("InvalidArgument", "NotFound", "Conflict", "Unavailable", "Exhausted", "Unsupported"):
            case = to_contract(getattr(sdk, name)("why"))
            self.assertEqual((type(case).__name__, case.value), (f"StorageError_{name}", "why"))
        other = to_contract(sdk.StorageError("why", retryable=True))
        self.assertEqual((type(other).__name__, other.value.message, other.value.retryable), ("StorageError_Other", "why", True))

    def test_the_case_of_a_derived_class_is_that_of_its_base(self) -> None:
        from reflow_tracing_plugin import Exhausted
        from reflow_tracing_plugin.export import to_contract

        class Full(Exhausted):
            pass

        self.assertEqual(type(to_contract(Full("disk"))).__name__, "StorageError_Exhausted")

    def test_another_exception_is_described_with_its_type_text_and_line(self) -> None:
        from reflow_tracing_plugin.export import described

        try:
            {}["stock"]
        except KeyError as error:
            text = described(error, str(Path(__file__).parent))
        self.assertRegex(text, r"^KeyError: 'stock' \(test_sdk\.py, line \d+, in test_another_exception")

    def test_errors_of_a_bucket_become_those_of_the_store(self) -> None:
        import reflow_tracing_plugin as sdk
        from componentize_py_types import Err
        from reflow_tracing_plugin.keyvalue import Bucket
        from wit_world.imports import keyvalue

        cases = [
            (keyvalue.KeyvalueError_NoSuchLabel("stock"), sdk.InvalidArgument, "stock = "),
            (keyvalue.KeyvalueError_InvalidArgument("limit"), sdk.InvalidArgument, "limit"),
            (keyvalue.KeyvalueError_AccessDenied("no"), sdk.InvalidArgument, "no"),
            (keyvalue.KeyvalueError_Timeout(), sdk.Unavailable, "in time"),
            (keyvalue.KeyvalueError_Unavailable("down"), sdk.Unavailable, "down"),
            (keyvalue.KeyvalueError_LimitExceeded("key"), sdk.Exhausted, "key"),
            (keyvalue.KeyvalueError_Other("else"), sdk.StorageError, "else"),
        ]
        for case, expected, part in cases:

            def fail(_: bytes) -> None:
                raise Err(case)

            with self.assertRaises(sdk.StorageError) as raised:
                Bucket(SimpleNamespace(get=fail)).get(b"key")
            self.assertIs(type(raised.exception), expected)
            self.assertIn(part, raised.exception.message)
            self.assertEqual(raised.exception.retryable, expected is sdk.Unavailable)

    def test_a_mistake_of_the_author_is_not_taken_for_an_error_of_the_bucket(self) -> None:
        from reflow_tracing_plugin.keyvalue import Bucket

        def fail(_: bytes) -> None:
            raise TypeError("not bytes")

        self.assertRaises(TypeError, Bucket(SimpleNamespace(get=fail)).get, "key")


class Listings(unittest.TestCase):
    """A bucket whose pages are short, as a host may make them."""

    @staticmethod
    def bucket() -> object:
        from reflow_tracing_plugin.keyvalue import Bucket

        pages = {None: ([b"a"], b"1"), b"1": ([], b"2"), b"2": ([b"b", b"c"], None)}

        def list_keys(prefix: bytes, cursor: bytes, limit: int) -> SimpleNamespace:
            keys, following = pages[cursor]
            return SimpleNamespace(keys=keys, next=following)

        def scan(prefix: bytes, cursor: bytes, limit: int, reverse: bool) -> SimpleNamespace:
            keys, following = pages[cursor]
            return SimpleNamespace(entries=[SimpleNamespace(key=key, value=b"v" + key) for key in keys], next=following)

        return Bucket(SimpleNamespace(list_keys=list_keys, scan=scan))

    def test_an_empty_page_does_not_end_a_listing(self) -> None:
        self.assertEqual(list(self.bucket().keys(b"")), [b"a", b"b", b"c"])
        self.assertEqual([value for _, value in self.bucket().entries(b"")], [b"va", b"vb", b"vc"])


class Redis(unittest.TestCase):
    def test_replies_are_nested_as_the_server_nested_them(self) -> None:
        from reflow_tracing_plugin import Exhausted, StorageError, Unavailable
        from reflow_tracing_plugin.redis import Connection
        from wit_world.imports import redis

        def pipeline(commands: list[list[bytes]]) -> list[object]:
            self.assertEqual(commands, [[b"GET", UUID(int=5).bytes], [b"ZRANGE", b"times", b"-1", b"\xff"]])
            return [
                redis.Reply_Nil(),
                redis.Reply_Array(3),
                redis.Reply_Integer(7),
                redis.Reply_Array(1),
                redis.Reply_Bytes(b"one"),
                redis.Reply_Array(0),
                redis.Reply_Failed("OOM command not allowed"),
                redis.Reply_Status("OK"),
            ]

        server = Connection(SimpleNamespace(pipeline=pipeline))
        commands = [("GET", UUID(int=5)), ["ZRANGE", b"times", -1, b"\xff"]]
        nil, nested, failed, status = server.pipeline(commands)
        self.assertEqual((nil, nested, status), (None, [7, [b"one"], []], "OK"))
        self.assertIsInstance(failed, Exhausted)
        self.assertRaises(Exhausted, server.run, commands)

        def refused(commands: list[list[bytes]]) -> list[object]:
            return [redis.Reply_Failed("READONLY You can't write against a read only replica.")]

        self.assertRaises(Unavailable, Connection(SimpleNamespace(pipeline=refused)).command, "SET", "a", 1)
        self.assertRaises(TypeError, server.command, "SET", "a", True)
        self.assertRaises(TypeError, server.command, "SET", "a", 1.5)
        self.assertTrue(issubclass(Exhausted, StorageError))

    def test_a_template_joins_the_parts_of_an_argument(self) -> None:
        from reflow_tracing_plugin.redis import Connection, Field, Joined, Present, Sortable
        from wit_world.imports import redis

        seen = []

        def pipeline_batch(unless: object, commands: object, events: object) -> int:
            seen.append((unless, commands, events))
            return 2

        server = Connection(SimpleNamespace(pipeline_batch=pipeline_batch))
        batch = SimpleNamespace(handle="batch")
        written = server.pipeline_batch([("SADD", Joined("k:", Field("trace-id")), Present("error"))], batch, unless=["EXISTS", Sortable("event-id")])
        self.assertEqual(written, 2)
        fixed = redis.Part_Fixed
        unless = [[fixed(b"EXISTS")], [redis.Part_Sortable("event-id")]]
        command = [[fixed(b"SADD")], [fixed(b"k:"), redis.Part_Field("trace-id")], [redis.Part_Present("error")]]
        self.assertEqual(seen, [(unless, [command], "batch")])

    def test_a_transaction_that_was_overtaken_answers_none(self) -> None:
        from reflow_tracing_plugin.redis import Connection
        from wit_world.imports import redis

        def atomically(expected: list[object], commands: object) -> object:
            self.assertEqual(expected, [redis.Expectation(b"a", b"1"), redis.Expectation(b"b", None)])
            return None

        server = Connection(SimpleNamespace(atomically=atomically))
        self.assertIsNone(server.atomically({"a": 1, "b": None}, [("DEL", "a")]))


class Rendering(unittest.TestCase):
    def test_ends_count_bytes_in_both_directions(self) -> None:
        from unittest.mock import patch

        from componentize_py_types import Err
        from reflow_tracing_plugin import InvalidArgument, render
        from wit_world.imports.batch import Blobs, Texts

        host = SimpleNamespace(
            headers_to_json=lambda blobs: Texts(blobs.data.decode(), blobs.ends),
            events_from_json=lambda texts: Blobs(texts.text.encode(), texts.ends),
        )
        with patch.object(render, "_render", host):
            self.assertEqual(render.traces_to_json(["é".encode(), b"", b"ab"]), ["é", "", "ab"])
            self.assertEqual(render.events_from_json(["é", "", "ab"]), ["é".encode(), b"", b"ab"])

        def fail(_: object) -> None:
            raise Err("not a header")

        with patch.object(render, "_render", SimpleNamespace(headers_from_json=fail)):
            self.assertRaisesRegex(InvalidArgument, "not a header", render.traces_from_json, ["{}"])


if __name__ == "__main__":
    unittest.main()
