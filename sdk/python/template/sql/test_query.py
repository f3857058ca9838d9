"""The queries, on the SQLite of this machine: `python3 -m unittest`. `reflow-tracing plugin test` tests the whole plugin."""

import sqlite3
import unittest
from pathlib import Path
from uuid import UUID

from query import place_of_token, select, token
from reflow_tracing_plugin import InvalidArgument, PageRequest, Status, TraceQuery, Unsupported


class Queries(unittest.TestCase):
    def setUp(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.addCleanup(self.database.close)
        self.database.executescript(Path(__file__).with_name("schema.sql").read_text())
        for number, start in enumerate([5, 5, 6, 7]):
            row = [UUID(int=number).bytes, "orders", UUID(int=9).bytes, start, start + 10, "Failed", "no stock", b"%d" % number]
            self.database.execute("INSERT INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def found(self, query: TraceQuery, page: PageRequest) -> list[bytes]:
        statement, parameters = select(query, page)
        plain = [parameter.bytes if isinstance(parameter, UUID) else parameter for parameter in parameters]
        return [body for _, _, body in self.database.execute(statement, plain)]

    def test_equal_starts_come_by_ascending_id_in_both_orders(self) -> None:
        self.assertEqual(self.found(TraceQuery(ascending=True), PageRequest(10)), [b"0", b"1", b"2", b"3"])
        self.assertEqual(self.found(TraceQuery(), PageRequest(10)), [b"3", b"2", b"0", b"1"])

    def test_a_page_continues_after_its_token_and_holds_one_more(self) -> None:
        after = token(6, UUID(int=2).bytes)
        self.assertEqual(place_of_token(after), (6, UUID(int=2).bytes))
        self.assertEqual(self.found(TraceQuery(), PageRequest(1, token=after)), [b"0", b"1"])
        self.assertRaises(InvalidArgument, select, TraceQuery(), PageRequest(1, token=b"short"))

    def test_predicates_combine(self) -> None:
        query = TraceQuery(flow_id="orders", status=Status.FAILED, error="no stock", start_from=6, start_to=6, has_error=True)
        self.assertEqual(self.found(query, PageRequest(10)), [b"2"])
        self.assertEqual(self.found(TraceQuery(tags=[("region", "eu")]), PageRequest(10)), [])
        self.assertEqual(self.found(TraceQuery(event_types=[]), PageRequest(10)), [])
        self.assertRaises(Unsupported, select, TraceQuery(more=[("later", "1")]), PageRequest(1))


if __name__ == "__main__":
    unittest.main()
