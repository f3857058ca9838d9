"""Deletion."""

from typing import Any

from client import Action, Client
from reflow_tracing_plugin import Unavailable
from summary import OVERTAKEN

#: Events that one request deletes at most: it must end within its time limit.
EVENTS_AT_ONCE = 10_000
#: Requests in a row that may delete nothing because others change the same documents.
TRIES = 5


def delete(client: Client, ids: list[str]) -> int:
    """Deletes traces with their events. Returns how many there were. After a failure, it can be called again."""
    index = client.settings.traces
    documents = [document for document in client.get_many(index, [{"_id": id} for id in ids], ["start"]) if document["found"]]
    existed = with_events(client, ids) | {document["_id"] for document in documents if document["_source"].get("start") is not None}
    # The header goes first: no query finds a trace of which a part is deleted.
    deletions = (Action("delete", {"_index": index, "_id": document["_id"]}) for document in documents)
    # One that someone else has deleted is not an error, and has none.
    client.bulk(deletions, OVERTAKEN)
    delete_events(client, ids)
    return len(existed)


def of_traces(ids: list[str]) -> dict[str, Any]:
    return {"terms": {"trace": ids}}


def with_events(client: Client, ids: list[str]) -> set[str]:
    """Which of these traces have events."""
    each = {"traces": {"terms": {"field": "trace", "size": len(ids)}}}
    body = {"query": of_traces(ids), "size": 0, "aggs": each, "track_total_hits": False}
    answer = client.search(client.settings.events, body)
    return {bucket["key"] for bucket in answer["aggregations"]["traces"]["buckets"]}


def delete_events(client: Client, ids: list[str]) -> None:
    index = client.settings.events
    tries = 0
    while True:
        answer = client.call(
            "POST",
            f"/{index}/_delete_by_query",
            {"query": of_traces(ids)},
            refresh="true",
            conflicts="proceed",
            max_docs=EVENTS_AT_ONCE,
        )
        if answer["timed_out"] or answer["failures"]:
            raise Unavailable(f"OpenSearch could not delete all events in {index}: {answer['failures'][:1] or 'it ran out of time'}")
        if not answer["version_conflicts"] and answer["deleted"] < EVENTS_AT_ONCE:
            return
        tries = 0 if answer["deleted"] else tries + 1
        if tries == TRIES:
            raise Unavailable(f"others change the events in {index} that are to be deleted")
