"""An index: its documents, and those that searches see, which are the documents of the last refresh."""

import copy
import uuid
from collections import defaultdict
from typing import Any, Optional

from fields import indexed
from problem import Problem
from query import compiled

#: What `index.max_result_window` is unless it is set.
WINDOW = 10_000

SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


class Document:
    def __init__(self, id: str, source: dict[str, Any], values: dict[str, list[Any]], number: int, version: int, route: str) -> None:
        self.id, self.source, self.values = id, source, values
        self.number, self.version, self.route = number, version, route


class Index:
    def __init__(self, name: str, settings: dict[str, Any], mappings: dict[str, Any]) -> None:
        self.name, self.settings, self.mappings = name, settings, mappings
        self.uuid = uuid.uuid4().hex[:22]
        self.documents: dict[str, Document] = {}
        self.seen: dict[str, Document] = {}
        #: Those that are seen, by their routing: with it, a search looks at one shard.
        self.routes: defaultdict[str, dict[str, Document]] = defaultdict(dict)
        self.changed: set[str] = set()
        self.number = -1

    # Writes.

    def write(self, action: str, meta: dict[str, Any], body: Optional[dict[str, Any]]) -> dict[str, Any]:
        """Does one action of a bulk request. Returns its item."""
        id = meta["_id"]
        if len(id.encode()) > 512:
            raise Problem(400, "illegal_argument_exception", f"id is too long, must be no longer than 512 bytes but was: {len(id.encode())}")
        self.check_blocks(action)
        stored = self.documents.get(id)
        self.check_number(meta, id, stored)
        if action == "delete":
            return self.delete(id, stored)
        if action == "create" and stored is not None:
            raise self.conflict(f"[{id}]: version conflict, document already exists (current version [{stored.version}])")
        if action == "update":
            return self.update(meta, id, stored, body or {})
        return self.put(id, body or {}, stored, meta.get("routing", id))

    def check_blocks(self, action: str) -> None:
        flag = "index.blocks.read_only_allow_delete"
        if self.settings.get(flag) == "true" and action != "delete":
            reason = (
                f"index [{self.name}] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has "
                "read-only-allow-delete block];"
            )
            raise Problem(429, "cluster_block_exception", reason)

    def check_number(self, meta: dict[str, Any], id: str, stored: Optional[Document]) -> None:
        if "if_seq_no" not in meta:
            return
        if "retry_on_conflict" in meta:
            reason = "Validation Failed: 1: compare and write operations can not be retried;"
            raise Problem(400, "action_request_validation_exception", reason)
        current = -2 if stored is None else stored.number
        if (current, 1) != (meta["if_seq_no"], meta["if_primary_term"]):
            reason = f"[{id}]: version conflict, required seqNo [{meta['if_seq_no']}], primary term [{meta['if_primary_term']}]."
            raise self.conflict(f"{reason} current document has seqNo [{current}] and primary term [1]")

    def conflict(self, reason: str) -> Problem:
        return Problem(409, "version_conflict_engine_exception", reason, index=self.name, shard="0", index_uuid=self.uuid)

    def update(self, meta: dict[str, Any], id: str, stored: Optional[Document], body: dict[str, Any]) -> dict[str, Any]:
        unknown = set(body) - {"doc", "doc_as_upsert", "upsert", "detect_noop"}
        if unknown:
            raise Problem(400, "x_content_parse_exception", f"[1:2] [UpdateRequest] unknown field [{unknown.pop()}]")
        if body.get("doc_as_upsert") and "if_seq_no" in meta:
            reason = "Validation Failed: 1: upsert requests don't support `if_seq_no` and `if_primary_term`;"
            raise Problem(400, "action_request_validation_exception", reason)
        if stored is None:
            if not body.get("doc_as_upsert"):
                more = {"index": self.name, "shard": "0", "index_uuid": self.uuid}
                raise Problem(404, "document_missing_exception", f"[{id}]: document missing", **more)
            return self.put(id, body["doc"], None, meta.get("routing", id))
        merged = copy.deepcopy(stored.source)
        if not merge(merged, body["doc"]):
            return self.item(id, stored, "noop", 200)
        return self.put(id, merged, stored, stored.route)

    def put(self, id: str, source: dict[str, Any], stored: Optional[Document], route: str) -> dict[str, Any]:
        values = indexed(self.mappings, source)
        self.number += 1
        document = Document(id, source, values, self.number, stored.version + 1 if stored else 1, route)
        self.documents[id] = document
        self.changed.add(id)
        return self.item(id, document, "updated", 200) if stored else self.item(id, document, "created", 201)

    def delete(self, id: str, stored: Optional[Document]) -> dict[str, Any]:
        self.number += 1
        gone = Document(id, {}, {}, self.number, stored.version + 1 if stored else 1, id)
        if stored is None:
            return self.item(id, gone, "not_found", 404)
        del self.documents[id]
        self.changed.add(id)
        return self.item(id, gone, "deleted", 200)

    def item(self, id: str, document: Document, result: str, status: int) -> dict[str, Any]:
        place = {"_index": self.name, "_id": id, "_version": document.version, "result": result}
        shards = {"total": 2, "successful": 1, "failed": 0}
        return {**place, "_shards": shards, "_seq_no": document.number, "_primary_term": 1, "status": status}

    def refresh(self) -> None:
        for id in self.changed:
            if old := self.seen.pop(id, None):
                del self.routes[old.route][id]
            if document := self.documents.get(id):
                self.seen[id] = document
                self.routes[document.route][id] = document
        self.changed.clear()

    # Reads.

    def get(self, id: str, fields: Any) -> dict[str, Any]:
        document = self.documents.get(id)
        place = {"_index": self.name, "_id": id}
        if document is None:
            return {**place, "found": False}
        known = {"_version": document.version, "_seq_no": document.number, "_primary_term": 1, "found": True}
        return {**place, **known, **chosen(document.source, fields)}

    def matching(self, query: dict[str, Any], routing: Optional[str] = None) -> list[Document]:
        condition = compiled(query)
        documents = self.seen if routing is None else self.routes.get(routing, {})
        return [document for document in documents.values() if condition(document.id, document.values)]

    def search(self, body: dict[str, Any], routing: Optional[str]) -> dict[str, Any]:
        unknown = set(body) - {"query", "sort", "size", "from", "_source", "search_after", "track_total_hits", "aggs"}
        if unknown:
            raise Problem(400, "parsing_exception", f"unknown key [{unknown.pop()}] in the search body")
        size, start = body.get("size", 10), body.get("from", 0)
        if size + start > int(self.settings.get("index.max_result_window", WINDOW)):
            reason = f"Result window is too large, from + size must be less than or equal to: [{WINDOW}] but was [{size + start}]."
            raise Problem(400, "illegal_argument_exception", reason).of_search()
        if "search_after" in body and start:
            reason = "`from` parameter must be set to 0 when `search_after` is used."
            raise Problem(400, "illegal_argument_exception", reason).of_search()
        found = self.matching(body.get("query", {"match_all": {}}), routing)
        sort = [next(iter(one.items())) for one in body.get("sort", [])]
        keys = [self.sort_key(field, order["order"]) for field, order in sort]
        page = [([key(document) for key, _ in keys], document) for document in found]
        if "search_after" in body:
            page = [(place, document) for place, document in page if is_after(keys, place, body["search_after"])]
        for position in reversed(range(len(keys))):
            page.sort(key=lambda entry: entry[0][position], reverse=keys[position][1])
        hits: list[dict[str, Any]] = []
        for place, document in page[start : start + size]:
            hit = {"_index": self.name, "_id": document.id, "_score": None, **chosen(document.source, body.get("_source", True))}
            hits.append({**hit, "sort": place} if sort else hit)
        answer: dict[str, Any] = {"took": 1, "timed_out": False, "_shards": SHARDS, "hits": {"max_score": None, "hits": hits}}
        if body.get("track_total_hits", True):
            answer["hits"]["total"] = {"value": len(found), "relation": "eq"}
        if "aggs" in body:
            answer["aggregations"] = {name: buckets(found, one["terms"]) for name, one in body["aggs"].items()}
        return answer

    def sort_key(self, field: str, order: str) -> tuple[Any, bool]:
        if field not in self.mappings["properties"]:
            raise Problem(400, "query_shard_exception", f"No mapping found for [{field}] in order to sort on").of_search()
        falls = order == "desc"
        pick = max if falls else min
        # What has no value comes last.
        missing: Any = (-(2**63) if falls else 2**63 - 1) if self.mappings["properties"][field]["type"] == "long" else ""
        return lambda document: pick(document.values.get(field, [missing])), falls

    def delete_by_query(self, query: dict[str, Any], most: Optional[int], proceed: bool) -> dict[str, Any]:
        found = self.matching(query)[:most]
        deleted = conflicts = 0
        for document in found:
            current = self.documents.get(document.id)
            if current is None or current.number != document.number:
                conflicts += 1
                if not proceed:
                    raise self.conflict(f"[{document.id}]: version conflict, the document has changed")
                continue
            self.delete(document.id, current)
            deleted += 1
        counts = {"total": len(found), "deleted": deleted, "batches": 1, "version_conflicts": conflicts, "noops": 0}
        return {"took": 1, "timed_out": False, **counts, "retries": {"bulk": 0, "search": 0}, "failures": []}


def merge(into: dict[str, Any], change: dict[str, Any]) -> bool:
    """Merges objects, and replaces everything else. Returns whether anything changed."""
    changed = False
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            changed = merge(into[name], value) or changed
        elif name not in into or into[name] != value:
            into[name] = value
            changed = True
    return changed


def is_after(keys: list[Any], place: list[Any], other: list[Any]) -> bool:
    for (_, falls), value, bound in zip(keys, place, other):
        if value != bound:
            return (value < bound) if falls else (value > bound)
    return False


def chosen(source: dict[str, Any], fields: Any) -> dict[str, Any]:
    if fields is False:
        return {}
    return {"_source": source if fields is True else {name: source[name] for name in fields if name in source}}


def buckets(found: list[Document], terms: dict[str, Any]) -> dict[str, Any]:
    counts: defaultdict[Any, int] = defaultdict(int)
    for document in found:
        for value in document.values.get(terms["field"], ()):
            counts[value] += 1
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    shown, others = ordered[: terms.get("size", 10)], ordered[terms.get("size", 10) :]
    return {
        "doc_count_error_upper_bound": 0,
        "sum_other_doc_count": sum(count for _, count in others),
        "buckets": [{"key": key, "doc_count": count} for key, count in shown],
    }
