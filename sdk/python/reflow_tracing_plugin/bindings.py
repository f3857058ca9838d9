"""The modules that componentize-py generates from `wit/` when it compiles the plugin. Elsewhere, such as in a unit test, they are
missing, and everything that does not call the host works without them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

#: Whether this runs inside of a component, or is about to be compiled into one.
IN_COMPONENT = sys.platform == "wasi"


class Missing:
    """Stands for generated code that is missing. Its use is an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise RuntimeError(f"{self._name} exists only inside of the host; build the plugin with `reflow-tracing plugin build`")


def imported(interface: str, package: str = "capabilities") -> Any:
    """The functions and types of an interface that the host provides."""
    # The longer name is generated where an interface of another package has the same name: `types`, beside those of HTTP.
    for name in (interface, f"reflow_{package}_{interface}"):
        module = f"wit_world.imports.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in (module, "wit_world", "wit_world.imports"):
                raise
    if not IN_COMPONENT:
        return Missing(f"`reflow:{package}/{interface}`")
    raise ImportError(f"add `import reflow:{package}/{interface}@0.1.1;` to wit/world.wit: the plugin uses this interface")


def generated(module: str) -> Any:
    """Another generated module."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        if IN_COMPONENT:
            raise
        return Missing(f"`{module}`")
