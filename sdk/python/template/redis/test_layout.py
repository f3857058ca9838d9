"""What the plugin keeps, tested without a host: `python3 -m unittest`. `reflow-tracing plugin test` tests the whole plugin."""

import unittest
from uuid import UUID

from header import matches, pack, unpack
from layout import lists, place, start_of, trace_of, unlists
from reflow_tracing_plugin import InvalidArgument, Status, Trace, TraceQuery
from search import checked

ID = UUID("64749864-655c-45d0-b056-02f3ad0653fc")
TRACE = Trace(ID, "orders", UUID(int=7), -5, 2**63 - 1, Status.FAILED, "no stock \0 é", [("region", "eu")], b"\x00\xff")


class Layout(unittest.TestCase):
    def test_a_header_is_read_as_it_was_stored(self) -> None:
        self.assertEqual(unpack(ID, pack(TRACE)), TRACE)

    def test_places_sort_by_start_and_equal_starts_by_ascending_id(self) -> None:
        starts = [(-(2**63), 2), (-1, 9), (0, 1), (0, 3), (2**63 - 1, 0)]
        for ascending, ordered in ((True, starts), (False, [starts[4], starts[2], starts[3], starts[1], starts[0]])):
            places = [place(start, ascending, UUID(int=number).bytes) for start, number in ordered]
            self.assertEqual(sorted(places), places)
            self.assertEqual([(start_of(one, ascending), trace_of(one).int) for one in places], ordered)

    def test_a_trace_leaves_the_places_that_it_took(self) -> None:
        took = [(key, member) for _, key, _, member in lists(-5, ID)]
        self.assertEqual([(key, member) for _, key, member in unlists(-5, ID)], took)
        self.assertEqual(len(set(took)), 2)

    def test_a_token_is_a_place(self) -> None:
        self.assertEqual(checked(place(5, True, ID.bytes)), place(5, True, ID.bytes))
        self.assertIsNone(checked(None))
        self.assertRaises(InvalidArgument, checked, b"short")

    def test_the_predicates_on_headers_combine(self) -> None:
        self.assertTrue(matches(TraceQuery(flow_id="orders", min_duration=2**63, tags=[("region", "eu")]), TRACE))
        self.assertFalse(matches(TraceQuery(flow_id="orders", max_duration=5), TRACE))


if __name__ == "__main__":
    unittest.main()
