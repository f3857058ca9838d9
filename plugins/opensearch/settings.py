"""The table `[plugins.opensearch.config]`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from reflow_tracing_plugin import InvalidArgument

#: What OpenSearch allows in the name of an index, without characters that a path would need to escape.
INDEX = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Settings:
    #: The address of the cluster.
    url: str
    #: The names of the indexes begin with it.
    index: str = "reflow-tracing"
    #: Of each index, when it is created.
    shards: int = 1
    replicas: int = 1
    #: How an acknowledged write becomes visible to searches.
    refresh: str = "true"
    #: Time for a request.
    timeout_ms: int = 4_000
    #: A larger batch is written by several requests.
    max_request_kb: int = 4_096
    #: A page whose answer is larger is read again in smaller pages.
    max_answer_kb: int = 16_384

    @property
    def traces(self) -> str:
        """The index of the headers."""
        return f"{self.index}-traces"

    @property
    def events(self) -> str:
        """The index of the events."""
        return f"{self.index}-events"

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Settings":
        """The settings of the configuration. Refuses unknown ones, so that a misspelt one is noticed."""
        names = [field.name for field in fields(cls)]
        for name, value in config.items():
            if name not in names:
                raise InvalidArgument(f"`{name}` is not a setting of this plugin; there are: {', '.join(names)}")
            must, is_valid = RULES[name]
            if not is_valid(value):
                raise InvalidArgument(f"`{name}` is {value!r}; it must {must}")
        if "url" not in config:
            raise InvalidArgument(f"`url` is missing: it must {RULES['url'][0]}")
        return cls(**{**config, "url": config["url"].rstrip("/")})


def is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return valid and "@" not in parts.netloc and not parts.query and not parts.fragment


def is_within(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


#: What each setting must be, and how that is checked.
RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "url": ("be the address of the cluster, such as https://search.example.com:9200, without a user or a password", is_address),
    "index": (
        "be 1 to 200 lower-case letters, digits, `.`, `_` and `-`, and begin with a letter or a digit",
        lambda value: isinstance(value, str) and INDEX.fullmatch(value) is not None,
    ),
    "shards": ("be a number from 1 to 1024", is_within(1, 1_024)),
    "replicas": ("be a number from 0 to 20", is_within(0, 20)),
    "refresh": ('be "true" or "wait_for"', lambda value: value in ("true", "wait_for")),
    "timeout_ms": ("be a number from 100 to 600000", is_within(100, 600_000)),
    "max_request_kb": ("be a number from 64 to 102400", is_within(64, 102_400)),
    "max_answer_kb": ("be a number from 64 to 65536", is_within(64, 65_536)),
}
