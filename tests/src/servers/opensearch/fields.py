"""Mappings: which values a field takes, and what of them is indexed."""

import base64
import re
from typing import Any, Iterable

from problem import Problem

#: Lucene's limit for a term, in bytes.
LONGEST_TERM = 32_766

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def indexed(mapping: dict[str, Any], source: dict[str, Any]) -> dict[str, list[Any]]:
    """The values of each field that a search sees. Fails on what the mapping does not take."""
    properties = mapping.get("properties", {})
    values: dict[str, list[Any]] = {}
    for name, value in source.items():
        if name not in properties:
            if mapping.get("dynamic", "true") == "strict":
                reason = f"mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
                raise Problem(400, "strict_dynamic_mapping_exception", reason)
            continue
        found = [one for each in flattened(value) if each is not None for one in converted(name, properties[name], each)]
        if found:
            values[name] = found
    return values


def flattened(value: Any) -> Iterable[Any]:
    return [one for each in value for one in flattened(each)] if isinstance(value, list) else [value]


def converted(name: str, field: dict[str, Any], value: Any) -> list[Any]:
    kind = field["type"]
    if kind == "keyword":
        text = ("true" if value else "false") if isinstance(value, bool) else value if isinstance(value, str) else str(value)
        # The limit counts UTF-16 units.
        if len(text.encode("utf-16-le")) // 2 > field.get("ignore_above", 2**31):
            return []
        if len(text.encode()) > LONGEST_TERM:
            reason = (
                f'Document contains at least one immense term in field="{name}" (whose UTF8 encoding is longer than the max length '
                f"{LONGEST_TERM}), all of which were skipped."
            )
            raise Problem(400, "illegal_argument_exception", reason)
        return [text]
    if kind == "long":
        if isinstance(value, bool) or not isinstance(value, int):
            raise unparsed(name, kind, value)
        if not -(2**63) <= value < 2**63:
            raise Problem(400, "mapper_parsing_exception", f"failed to parse field [{name}] of type [long]: out of range for a long")
        return [value]
    if kind == "boolean" and isinstance(value, bool):
        return [value]
    if kind == "date" and isinstance(value, str) and DATE.fullmatch(value):
        return [value]
    if kind == "binary" and isinstance(value, str):
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            raise unparsed(name, kind, value) from None
        # Not indexed.
        return []
    raise unparsed(name, kind, value)


def unparsed(name: str, kind: str, value: Any) -> Problem:
    reason = f"failed to parse field [{name}] of type [{kind}] in document. Preview of field's value: '{str(value)[:50]}'"
    return Problem(400, "mapper_parsing_exception", reason)
