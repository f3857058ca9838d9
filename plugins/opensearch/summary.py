"""What the events of a trace are like, in the document of the trace: so that a query for traces is one search."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from client import Action, Client
from documents import is_long
from reflow_tracing_plugin import Conflict

#: The fields of an event that its summary is made of.
OF_EVENT = ("trace", "type", "actor", "error")

FIELDS = ("kinds", "actors", "actors_cut", "event_error")

#: Actors of a trace that are in its document. Beyond that, a search for actors also reads events.
MOST_ACTORS = 1_000

#: Attempts to change a document that others change too.
TRIES = 20

#: A document that appeared, changed or disappeared since it was read.
OVERTAKEN = {409: "version_conflict_engine_exception", 404: "document_missing_exception"}


@dataclass
class Summary:
    kinds: set[str] = field(default_factory=set)
    actors: set[str] = field(default_factory=set)
    #: Whether the trace has actors that are not among `actors`.
    actors_cut: bool = False
    #: Whether an event has an error.
    event_error: bool = False

    @classmethod
    def of_document(cls, source: dict[str, Any]) -> "Summary":
        cut, error = bool(source.get("actors_cut")), bool(source.get("event_error"))
        return cls(set(source.get("kinds") or ()), set(source.get("actors") or ()), cut, error)

    def add_actor(self, actor: str) -> None:
        if is_long(actor) or len(self.actors) >= MOST_ACTORS and actor not in self.actors:
            self.actors_cut = True
        else:
            self.actors.add(actor)

    def with_other(self, other: "Summary") -> "Summary":
        """Both together."""
        cut, error = self.actors_cut or other.actors_cut, self.event_error or other.event_error
        both = Summary(self.kinds | other.kinds, set(self.actors), cut, error)
        for actor in sorted(other.actors):
            both.add_actor(actor)
        return both

    def document(self) -> dict[str, Any]:
        return {
            "kinds": sorted(self.kinds),
            "actors": sorted(self.actors),
            "actors_cut": self.actors_cut,
            "event_error": self.event_error,
        }


def of_events(sources: Iterable[Mapping[str, Any]]) -> dict[str, Summary]:
    """The summary of the events of each trace, by the id of its document."""
    summaries: defaultdict[str, Summary] = defaultdict(Summary)
    for source in sources:
        summary = summaries[source["trace"]]
        summary.kinds.add(source["type"])
        summary.add_actor(source["actor"])
        summary.event_error = summary.event_error or "error" in source
    return dict(summaries)


def store(client: Client, summaries: dict[str, Summary]) -> None:
    """Adds these summaries to the documents of the traces, whatever others add at the same time."""
    left = summaries
    for _ in range(TRIES):
        ids = list(left)
        documents = client.get_many(client.settings.traces, [{"_id": id} for id in ids], FIELDS)
        changes = [(id, change(client, id, document, left[id])) for id, document in zip(ids, documents)]
        actions = [(id, action) for id, action in changes if action is not None]
        statuses = client.bulk((action for _, action in actions), OVERTAKEN)
        left = {id: left[id] for (id, _), status in zip(actions, statuses) if status >= 300}
        if not left:
            return
    raise Conflict(f"other writers changed the documents of {len(left)} traces in {client.settings.traces} at the same time")


def change(client: Client, id: str, document: Any, summary: Summary) -> Optional[Action]:
    """The write that adds a summary to a document, if one is needed."""
    index = client.settings.traces
    if not document["found"]:
        return Action("create", {"_index": index, "_id": id}, {"trace": id, **summary.document()})
    stored = Summary.of_document(document["_source"])
    both = stored.with_other(summary)
    if both == stored:
        return None
    unchanged = {"if_seq_no": document["_seq_no"], "if_primary_term": document["_primary_term"]}
    return Action("update", {"_index": index, "_id": id, **unchanged}, {"doc": both.document()})
