"""The plugin's own settings: the table `[plugins.NAME.config]`. `StorageBackend.__init__` gets all of them too."""

# mypy: disable-error-code="no-any-return"
# What the host returns has the type that the contract gives it.

from __future__ import annotations

import json
from typing import Any, Optional

from .bindings import imported

_config = imported("config")


def get(name: str) -> Optional[Any]:
    """The value of a setting; `None` if it is not set."""
    text = _config.get(name)
    return None if text is None else json.loads(text)


def names() -> list[str]:
    """The names of the settings, in order."""
    return _config.names()
