"""A pytest plugin for `make check`: in which modules of the project a test has executed a function.

    python -m pytest -p tests.reached --reached=FILE --reached-in=plugins ...

Each function of the modules in those folders says so as it begins, which costs next to nothing. A coverage tool follows
every line and call of whatever runs, and doubled the CPU of the quick tests.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import marshal
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
REACHED: set[str] = set()
SAY = "__reached__"  # REACHED.add, as a function finds it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reached", metavar="FILE", help="the modules of which a function ran are added to this file")
    parser.addoption("--reached-in", metavar="FOLDER", action="append", default=[], help="folders of such modules")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("reached"):
        watch([ROOT / folder for folder in config.getoption("reached_in")])


def pytest_collection_finish() -> None:
    REACHED.clear()  # what runs when a module is merely imported


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Each of pytest-xdist's processes adds its own."""
    if file := session.config.getoption("reached"):
        with open(file, "a") as output:
            output.write("".join(f"{path}\n" for path in sorted(REACHED)))


def watch(folders: list[Path]) -> None:
    """Have the functions of each module say that they run, when it is imported from one of these folders from now on.

    What Python has compiled before is neither read nor replaced.
    """
    setattr(builtins, SAY, REACHED.add)
    loader: Any = importlib.machinery.SourceFileLoader
    get_code = loader.get_code

    def get_code_that_says(self: Any, name: str) -> CodeType:
        path = self.get_filename(name)
        if any(folder in Path(path).parents for folder in folders):
            return kept_or_compiled(self.get_data(path), path)
        return get_code(self, name)

    loader.get_code = get_code_that_says


def kept_or_compiled(source: bytes, path: str) -> CodeType:
    """`compiled`, kept beside what Python compiles: else each process of the tests would take two seconds for it."""
    file = Path(importlib.util.cache_from_source(path, optimization="reached"))
    made_from = (importlib.util.MAGIC_NUMBER, Path(__file__).read_bytes(), os.fsencode(path), source)
    digest = hashlib.sha256(b"\0".join(made_from)).digest()
    with contextlib.suppress(OSError):
        found = file.read_bytes()
        if found.startswith(digest):
            return marshal.loads(found[len(digest) :])
    code = compiled(source, path)
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):  # a folder that cannot be written to
            file.parent.mkdir(exist_ok=True)
            # At once, since several processes do so at the same time.
            new = file.with_name(f"{file.name}.{os.getpid()}")
            new.write_bytes(digest + marshal.dumps(code))
            new.replace(file)
    return code


def compiled(source: bytes, path: str) -> CodeType:
    """A module whose functions say that they run."""
    tree = ast.parse(source, path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = 1 if ast.get_docstring(node, clean=False) is not None else 0
            if len(node.body) > first:
                (call,) = ast.parse(f"{SAY}({path!r})").body
                # A traceback names the line of what comes next.
                for each in ast.walk(call):
                    ast.copy_location(each, node.body[first])
                node.body.insert(first, call)
    return compile(tree, path, "exec", dont_inherit=True)
