"""Errors in the form that OpenSearch gives them."""

from typing import Any


class Problem(Exception):
    """An error of a request, or of an item of a bulk request."""

    def __init__(self, status: int, kind: str, reason: str, **more: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.cause = {"type": kind, "reason": reason, **more}

    def body(self) -> dict[str, Any]:
        return {"error": {"root_cause": [self.cause], **self.cause}, "status": self.status}

    def of_search(self) -> "Problem":
        """The same as the failure of every shard of a search."""
        return OfSearch(self.status, self.cause["type"], self.cause["reason"])


class OfSearch(Problem):
    def body(self) -> dict[str, Any]:
        failed = [{"shard": 0, "index": "index", "node": "node", "reason": self.cause}]
        error = {"root_cause": [self.cause], "type": "search_phase_execution_exception", "reason": "all shards failed"}
        return {"error": {**error, "phase": "query", "grouped": True, "failed_shards": failed}, "status": self.status}


def no_index(name: str) -> Problem:
    more = {"index": name, "resource.id": name, "resource.type": "index_or_alias", "index_uuid": "_na_"}
    return Problem(404, "index_not_found_exception", f"no such index [{name}]", **more)
