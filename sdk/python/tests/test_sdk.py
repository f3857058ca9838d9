"""The parts of the SDK that need no host, and those that need only the types that componentize-py generates."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

ROOT = Path(__file__).parents[3]
#: The types of the contract, for as long as this program runs.
GENERATED = tempfile.TemporaryDirectory()


def setUpModule() -> None:
    """Generates the bindings, without a component around them: its functions fail, its types work."""
    compiler = shutil.which("componentize-py")
    if compiler is None:
        raise unittest.SkipTest("componentize-py is not on the PATH: `cargo xtask setup --lang python` installs it")
    wit = ROOT / "plugins/keyvalue-python/wit"
    command = [compiler, "--quiet", "-d", str(wit), "-w", "local:backend/plugin", "bindings", GENERATED.name]
    subprocess.run(command, check=True)
    sys.path.insert(0, GENERATED.name)


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


if __name__ == "__main__":
    unittest.main()
