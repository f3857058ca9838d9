"""The part of the query language that is implemented. Anything else is an error, as an unknown query is in OpenSearch."""

import re
from typing import Any, Callable

from problem import Problem

#: The id of a document, and the values of its fields.
Condition = Callable[[str, dict[str, list[Any]]], bool]

MOST_TERMS = 65_536


def parsing(reason: str) -> Problem:
    return Problem(400, "parsing_exception", reason)


def compiled(query: dict[str, Any]) -> Condition:
    if not isinstance(query, dict) or len(query) != 1:
        raise parsing("[bool] malformed query, expected [END_OBJECT] but found [FIELD_NAME]")
    ((name, body),) = query.items()
    if name not in QUERIES:
        raise parsing(f"unknown query [{name}]")
    return QUERIES[name](body)


def of_bool(body: dict[str, Any]) -> Condition:
    clauses = {name: body.pop(name, []) for name in ("filter", "must", "should", "must_not")}
    least = body.pop("minimum_should_match", None)
    if body:
        raise parsing(f"[bool] query does not support [{next(iter(body))}]")
    each = {name: [compiled(one) for one in (value if isinstance(value, list) else [value])] for name, value in clauses.items()}
    must, should, must_not = each["filter"] + each["must"], each["should"], each["must_not"]
    if least is None:
        # Without other clauses, one of these must match.
        least = 1 if should and not must else 0

    def matches(id: str, values: dict[str, list[Any]]) -> bool:
        return (
            all(condition(id, values) for condition in must)
            and not any(condition(id, values) for condition in must_not)
            and (least == 0 or sum(condition(id, values) for condition in should) >= least)
        )

    return matches


def one_field(name: str, body: dict[str, Any]) -> tuple[str, Any]:
    if len(body) != 1:
        raise parsing(f"[{name}] query doesn't support multiple fields")
    return next(iter(body.items()))


def of_term(body: dict[str, Any]) -> Condition:
    field, value = one_field("term", body)
    if isinstance(value, dict):
        value = value["value"]
    return lambda _, values: value in values.get(field, ())


def of_terms(body: dict[str, Any]) -> Condition:
    field, wanted = one_field("terms", body)
    if not isinstance(wanted, list):
        raise parsing("[terms] query requires an array of terms")
    if len(wanted) > MOST_TERMS:
        reason = (
            f"The number of terms [{len(wanted)}] used in the Terms Query request has exceeded the allowed maximum of [{MOST_TERMS}]. "
            "This maximum can be set by changing the [index.max_terms_count] index level setting."
        )
        raise Problem(400, "illegal_argument_exception", reason)
    several = set(wanted)
    return lambda _, values: not several.isdisjoint(values.get(field, ()))


def of_range(body: dict[str, Any]) -> Condition:
    field, bounds = one_field("range", body)
    for name, bound in bounds.items():
        if name not in ("gte", "lte", "gt", "lt"):
            raise parsing(f"[range] query does not support [{name}]")
        if isinstance(bound, int) and not -(2**63) <= bound < 2**63:
            raise Problem(400, "query_shard_exception", f"failed to create query: Value [{bound}] is out of range for a long")
    least, most = bounds.get("gte"), bounds.get("lte")
    above, below = bounds.get("gt"), bounds.get("lt")

    def matches(_: str, values: dict[str, list[Any]]) -> bool:
        return any(
            (least is None or value >= least)
            and (most is None or value <= most)
            and (above is None or value > above)
            and (below is None or value < below)
            for value in values.get(field, ())
        )

    return matches


def of_wildcard(body: dict[str, Any]) -> Condition:
    field, value = one_field("wildcard", body)
    text = value["value"] if isinstance(value, dict) else value
    pattern = ""
    rest = iter(text)
    for character in rest:
        if character == "*":
            pattern += ".*"
        elif character == "?":
            pattern += "."
        else:
            # A backslash makes the next character stand for itself.
            pattern += re.escape(next(rest, "\\") if character == "\\" else character)
    expression = re.compile(pattern, re.DOTALL)
    return lambda _, values: any(expression.fullmatch(one) for one in values.get(field, ()))


def of_exists(body: dict[str, Any]) -> Condition:
    field = body["field"]
    return lambda _, values: field in values


def of_ids(body: dict[str, Any]) -> Condition:
    wanted = set(body["values"])
    return lambda id, _: id in wanted


QUERIES: dict[str, Callable[[dict[str, Any]], Condition]] = {
    "match_all": lambda _: lambda id, values: True,
    "match_none": lambda _: lambda id, values: False,
    "bool": of_bool,
    "term": of_term,
    "terms": of_terms,
    "range": of_range,
    "wildcard": of_wildcard,
    "exists": of_exists,
    "ids": of_ids,
}
