"""What is posted, tested without a host: `python3 -m unittest`. `reflow-tracing plugin test` tests the whole plugin."""

import unittest
from unittest.mock import patch

import app
from reflow_tracing_plugin import InvalidArgument, StorageError, Unavailable
from reflow_tracing_plugin.http import Response

URL = "https://example.com/traces"


class Posting(unittest.TestCase):
    def posted(self, lines: list[str], status: int) -> list[bytes]:
        """What a receiver gets that answers with this status."""
        received = []

        def request(method: str, url: str, **options: object) -> Response:
            self.assertEqual((method, url), ("POST", URL))
            received.append(options["body"])
            return Response(status, {}, b"")

        with patch.object(app, "request", request):
            app.Forwarder({"url": URL}).post(lines)
        return received

    def test_lines_are_posted_in_parts_that_hold_each_line_once(self) -> None:
        lines = [f"{number}" * 100_000 for number in range(10)] + ["é" * 500_000]
        parts = self.posted(lines, 204)
        self.assertGreater(len(parts), 3)
        self.assertEqual(b"".join(parts).decode(), "".join(f"{line}\n" for line in lines))
        self.assertTrue(all(len(part) <= app.BODY_BYTES for part in parts[:-1]))
        self.assertEqual(self.posted([], 204), [])

    def test_an_answer_says_whether_a_retry_can_help(self) -> None:
        for status in (408, 429, 500, 503):
            self.assertRaisesRegex(Unavailable, str(status), self.posted, ["{}"], status)
        with self.assertRaises(StorageError) as raised:
            self.posted(["{}"], 400)
        self.assertFalse(raised.exception.retryable)

    def test_settings_are_checked(self) -> None:
        for config in ({}, {"url": 5}, {"url": "example.com"}, {"url": "https://"}, {"url": URL, "ttl": 1}):
            self.assertRaises(InvalidArgument, app.Forwarder, config)


if __name__ == "__main__":
    unittest.main()
