"""What needs no host: `python3 -m unittest`. Some of it runs against the stand-in for OpenSearch that is in the repository's tests."""

import subprocess
import sys
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from uuid import UUID

import documents
import indexes
import removal
import search
import summary
from client import Action, Client, Failed, chunks, meaning
from reflow_tracing_plugin import Conflict, Exhausted, InvalidArgument, NotFound, PageRequest, Status, StorageError, Trace, TraceQuery, Unavailable
from reflow_tracing_plugin.http import AnswerTooLarge, Response
from settings import Settings
from summary import Summary

STAND_IN = Path(__file__).parents[2] / "tests/src/servers/opensearch/server.py"


def send(method: str, url: str, headers: dict[str, str], body: bytes, timeout: float, max_bytes: int) -> Response:
    """What `reflow_tracing_plugin.http.request` does, without a host."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body or None, headers, method=method), timeout=timeout) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        status, content = answer.code, answer.read()
    if len(content) > max_bytes:
        raise AnswerTooLarge("too large")
    return Response(status, {}, content)


class Texts(unittest.TestCase):
    def test_different_texts_have_different_keys_which_lucene_takes(self) -> None:
        long = "é" * 20_000
        hashed = documents.keyed(long)
        texts = ["", "a", "\0", long, long + "e", hashed, "sha256:", "a" * 512, "a" * 513]
        keys = [documents.keyed(text) for text in texts]
        self.assertEqual(len(set(keys)), len(texts))
        self.assertTrue(all(len(key.encode()) <= documents.LONGEST for key in keys))
        self.assertEqual(keys[:3] + [keys[7]], texts[:3] + [texts[7]])

    def test_different_tags_have_different_keys(self) -> None:
        tags = [("a", "b=c"), ("a=b", "c"), ("a\\", "b"), ("a\\=b", ""), ("a", ""), ("", "a"), ("a", "\\b")]
        self.assertEqual(len({documents.tag(name, value) for name, value in tags}), len(tags))
        self.assertEqual(documents.tag("env", "prod"), "env=prod")

    def test_times_are_shown_to_the_millisecond_and_rounded_down(self) -> None:
        self.assertEqual(documents.shown(1_795_371_274_280_999_999), "2026-11-22T18:14:34.280Z")
        self.assertEqual(documents.shown(-1), "1969-12-31T23:59:59.999Z")
        self.assertEqual(documents.shown(-(2**63)), "1677-09-21T00:12:43.145Z")
        self.assertEqual(documents.shown(2**63 - 1), "2262-04-11T23:47:16.854Z")


class Queries(unittest.TestCase):
    def test_an_actor_is_escaped(self) -> None:
        self.assertEqual(search.containing("actors", "a*b?c\\d"), {"wildcard": {"actors": {"value": "*a\\*b\\?c\\\\d*"}}})

    def test_a_token_is_a_place(self) -> None:
        place = search.Place(-5, UUID(int=7).hex)
        self.assertEqual(search.Place.of_token(place.token()), place)
        self.assertRaises(InvalidArgument, search.Place.of_token, b"short")


class Config(unittest.TestCase):
    def test_settings_are_checked(self) -> None:
        url = "https://a.example:9200/"
        self.assertEqual(Settings.read({"url": url}).url, url[:-1])
        for config, part in (
            ({}, "`url` is missing"),
            ({"url": "a.example"}, "must be the address"),
            ({"url": "https://user:secret@a.example"}, "without a user"),
            ({"url": url, "index": "Traces"}, "`index`"),
            ({"url": url, "index": "_traces"}, "`index`"),
            ({"url": url, "shards": True}, "`shards`"),
            ({"url": url, "refresh": "false"}, "`refresh`"),
            ({"url": url, "replica": 1}, "there are: url, index"),
        ):
            self.assertRaisesRegex(InvalidArgument, part, Settings.read, config)


class Errors(unittest.TestCase):
    def test_each_status_has_its_meaning(self) -> None:
        full = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, ..];"
        for status, kind, reason, expected in (
            (400, "parsing_exception", "unknown query [x]", StorageError),
            (401, "", "Unauthorized", StorageError),
            (403, "cluster_block_exception", full.replace("TOO_MANY_REQUESTS", "FORBIDDEN"), Exhausted),
            (404, "index_not_found_exception", "no such index [a]", NotFound),
            (408, "", "", Unavailable),
            (409, "version_conflict_engine_exception", "", Conflict),
            (413, "", "", Exhausted),
            (429, "cluster_block_exception", full, Exhausted),
            (429, "circuit_breaking_exception", "", Unavailable),
            (503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered];", Unavailable),
        ):
            error = meaning(Failed(status, kind, reason), "POST /_bulk")
            self.assertIs(type(error), expected, (status, kind))
            self.assertIn(f"POST /_bulk: {status}", error.message)

    def test_a_bulk_request_is_split_by_its_bytes(self) -> None:
        pieces = [b"1" * 40, b"2" * 40, b"3" * 40, b"4" * 200, b"5"]
        self.assertEqual([len(chunk) for chunk in chunks(pieces, 100)], [2, 1, 1, 1])
        self.assertEqual([piece for chunk in chunks(pieces, 100) for piece in chunk], pieces)


class Store(unittest.TestCase):
    """Over the stand-in."""

    @classmethod
    def setUpClass(cls) -> None:
        command = [sys.executable, "-B", str(STAND_IN)]
        cls.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.url = cls.server.stdout.readline().strip()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.communicate()

    def setUp(self) -> None:
        self.client = Client(Settings.read({"url": self.url, "index": self.id().lower().rpartition(".")[2]}), send)
        indexes.ready(self.client)

    def write(self, *events: tuple[int, int, str]) -> list[Action]:
        """Writes for events of these traces, at these times, by these actors."""
        settings = self.client.settings
        return [
            documents.event(settings, UUID(int=trace), UUID(int=at), at, "MessageSent", actor, b"%d" % at, None)
            for trace, at, actor in events
        ]

    def store(self, *events: tuple[int, int, str]) -> None:
        writes = self.write(*events)
        self.client.bulk(writes, documents.STORED)
        summary.store(self.client, summary.of_events(write.source for write in writes))

    def header(self, number: int) -> None:
        trace = Trace(UUID(int=number), "orders", UUID(int=7), number, None, Status.RUNNING, None, [], b"header %d" % number)
        target = {"_index": self.client.settings.traces, "_id": trace.trace_id.hex}
        self.client.bulk([Action("update", target, {"doc": documents.header(trace), "doc_as_upsert": True})], {})

    def found(self, actor: str) -> list[bytes]:
        return list(search.traces(self.client, TraceQuery(actor=actor, ascending=True), PageRequest(10)).bodies)

    def test_an_actor_that_is_longer_than_a_term_may_be_is_kept_and_found(self) -> None:
        long = "x" * 40_000 + "é-end"
        self.header(1)
        self.header(2)
        self.store((1, 5, long), (2, 5, "short"))
        self.assertEqual(search.events(self.client, UUID(int=1), PageRequest(10)), ([b"5"], None))
        for part in ("é-end", long, "x" * 600):
            self.assertEqual(self.found(part), [b"header 1"])
        self.assertEqual(self.found("short"), [b"header 2"])
        self.assertEqual(self.found("end of it"), [])

    def test_more_actors_than_a_document_lists_are_found(self) -> None:
        self.header(1)
        self.store(*((1, at, f"worker-{at}") for at in range(summary.MOST_ACTORS)))
        self.store((1, 5_000, "one-too-many"))
        self.assertEqual(self.found("too-many"), [b"header 1"])
        self.assertEqual(self.found("worker-999"), [b"header 1"])
        (document,) = self.client.get_many(self.client.settings.traces, [{"_id": UUID(int=1).hex}], summary.FIELDS)
        self.assertEqual(len(document["_source"]["actors"]), summary.MOST_ACTORS)

    def test_a_summary_is_added_to_what_others_write_meanwhile(self) -> None:
        others = iter(["first", "second", None])

        def overtaken(method: str, url: str, **options: Any) -> Response:
            # Just before this writer writes, another one does.
            if "_bulk" in url and (actor := next(others, None)):
                summary.store(self.client, {UUID(int=1).hex: Summary({"k"}, {actor})})
            return send(method, url, **options)

        slow = Client(self.client.settings, overtaken)
        summary.store(slow, {UUID(int=1).hex: Summary({"k"}, {"mine"}, event_error=True)})
        (document,) = self.client.get_many(self.client.settings.traces, [{"_id": UUID(int=1).hex}], summary.FIELDS)
        self.assertEqual(Summary.of_document(document["_source"]), Summary({"k"}, {"first", "second", "mine"}, event_error=True))

    def test_a_header_leaves_what_is_known_about_events(self) -> None:
        self.store((1, 5, "before"))
        self.header(1)
        self.assertEqual(self.found("before"), [b"header 1"])

    def test_a_deletion_that_was_interrupted_is_completed_by_the_next(self) -> None:
        self.header(1)
        self.store((1, 5, "a"), (1, 6, "a"), (2, 5, "a"))
        one, two, three = (UUID(int=number).hex for number in (1, 2, 3))
        self.client.bulk([Action("delete", {"_index": self.client.settings.traces, "_id": one})], {})
        self.assertEqual(removal.delete(self.client, [one, three]), 1)
        self.assertEqual(search.events(self.client, UUID(int=1), PageRequest(10)), ([], None))
        self.assertEqual(removal.delete(self.client, [one, two]), 1)

    def test_pages_are_small_where_documents_are_large(self) -> None:
        settings = Settings.read({"url": self.url, "index": self.client.settings.index, "max_answer_kb": 64})
        self.store(*((1, at, "a" * 500) for at in range(300)))
        events, after = search.events(Client(settings, send), UUID(int=1), PageRequest(299))
        self.assertEqual(events, [b"%d" % at for at in range(299)])
        rest = search.events(Client(settings, send), UUID(int=1), PageRequest(10, token=after))
        self.assertEqual(rest, ([b"299"], None))
        self.assertEqual(search.events(self.client, UUID(int=1), PageRequest(2, offset=297))[0], [b"297", b"298"])

    def test_an_index_of_someone_else_is_refused(self) -> None:
        self.client.call("PUT", "/theirs-traces", {"mappings": {"properties": {}}})
        self.client.call("PUT", "/theirs-events", {"mappings": {"properties": {}}})
        theirs = Client(Settings.read({"url": self.url, "index": "theirs"}), send)
        self.assertRaisesRegex(InvalidArgument, "theirs-.* was not created by this plugin", indexes.ready, theirs)

    def test_an_index_that_is_deleted_is_created_again_with_its_mapping(self) -> None:
        self.client.call("DELETE", f"/{self.client.settings.traces}")
        self.assertRaises(NotFound, self.found, "a")
        self.header(1)
        indexes.check(self.client)


if __name__ == "__main__":
    unittest.main()
