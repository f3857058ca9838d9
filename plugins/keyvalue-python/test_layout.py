"""What the plugin keeps, tested without a host: `python3 -m unittest`. `reflow-tracing plugin test` tests the whole plugin."""

import unittest
from uuid import UUID

from header import matches, pack, unpack
from layout import of_start, start_of, trace_of
from reflow_tracing_plugin import Status, Trace, TraceQuery
from search import Place, comes_after

ID = UUID("64749864-655c-45d0-b056-02f3ad0653fc")
TRACE = Trace(ID, "orders", UUID(int=7), -5, 2**63 - 1, Status.FAILED, "no stock \0 é", [("region", "eu")], b"\x00\xff")


class Layout(unittest.TestCase):
    def test_a_header_is_read_as_it_was_stored(self) -> None:
        self.assertEqual(unpack(ID, pack(TRACE)), TRACE)

    def test_keys_sort_by_start_and_then_by_id(self) -> None:
        places = [(-(2**63), 2), (-1, 9), (0, 1), (0, 3), (2**63 - 1, 0)]
        keys = [of_start(start, UUID(int=number)) for start, number in places]
        self.assertEqual(sorted(keys), keys)
        self.assertEqual([(start_of(key), trace_of(key).int) for key in keys], places)

    def test_equal_starts_come_by_ascending_id_in_both_orders(self) -> None:
        low, high, later = of_start(5, UUID(int=1)), of_start(5, UUID(int=2)), of_start(6, UUID(int=0))
        self.assertTrue(comes_after(high, low, ascending=True) and comes_after(later, high, ascending=True))
        self.assertTrue(comes_after(high, low, ascending=False) and comes_after(low, later, ascending=False))

    def test_a_token_holds_a_place(self) -> None:
        for cursor in (None, b"", b"t+"):
            place = Place(of_start(5, ID), cursor)
            self.assertEqual(Place.of_token(place.token()), place)

    def test_the_predicates_on_headers_combine(self) -> None:
        for query in (
            TraceQuery(),
            TraceQuery(flow_id="orders", status=Status.FAILED, error=TRACE.error, tags=[("region", "eu")]),
            TraceQuery(min_duration=2**63, execution_id=UUID(int=7)),
        ):
            self.assertTrue(matches(query, TRACE), query)
        for query in (
            TraceQuery(flow_id="Orders"),
            TraceQuery(status=Status.COMPLETED),
            TraceQuery(error="no stock"),
            TraceQuery(tags=[("region", "eu"), ("region", "us")]),
            TraceQuery(max_duration=5),
        ):
            self.assertFalse(matches(query, TRACE), query)


if __name__ == "__main__":
    unittest.main()
