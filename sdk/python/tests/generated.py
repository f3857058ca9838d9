"""The types of the contract, as componentize-py generates them: its functions fail, its types work."""

import functools
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

#: The generated modules, for as long as this program runs.
FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def generate() -> None:
    compiler = shutil.which("componentize-py")
    if compiler is None:
        raise unittest.SkipTest("componentize-py is not on the PATH: `cargo xtask setup --lang python` installs it")
    wit = Path(__file__).parent / "wit"
    command = [compiler, "--quiet", "-d", str(wit), "-w", "local:backend/plugin", "bindings", FOLDER.name]
    subprocess.run(command, check=True)
    sys.path.insert(0, FOLDER.name)
