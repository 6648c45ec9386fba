"""A module is covered when a test executes one of its functions, not when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests import reached
from tools.uncovered_modules import lines_in_functions, uncovered

ROOT = Path(__file__).parents[2]
SOURCES = {
    "called": "def answer():\n    return 42\n",
    "imported": "def answer():\n    '''Says it.'''\n    return 42\n",
    "called_at_import": "def answer():\n    return 42\n\nFOUND = answer()\n",
    "without_functions": "FOUND = 42\n",
}
# As pytest does it: all is imported, and forgotten when the first test begins.
MEASURE = """
import sys
from pathlib import Path
from tests import reached
reached.watch([Path(sys.argv[1])])
import called, called_at_import, imported, without_functions
assert called_at_import.__file__ in reached.REACHED
reached.pytest_collection_finish()
assert called.answer() == 42
print(*reached.REACHED)
"""


@pytest.fixture
def data(tmp_path) -> list[str]:
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
    command = [sys.executable, "-c", MEASURE, tmp_path]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True,
                          text=True).stdout.split()  # fmt: skip


def test_import_is_no_cover(tmp_path, data):
    files = [tmp_path / f"{name}.py" for name in SOURCES]
    assert [file.stem for file in uncovered(files, [data])] == ["imported", "called_at_import"]


def test_one_of_several_measurements_is_enough(tmp_path, data):
    other = [str(tmp_path / "imported.py")]
    assert uncovered([tmp_path / "imported.py"], [data, other]) == []


def test_a_function_that_says_that_it_ran_is_the_same_in_all_else():
    source = b'''
def after_its_docstring(number: int) -> int:
    """Of a function."""
    return number // 0

def nothing_but_a_docstring():
    """It does nothing."""
'''
    names: dict[str, Any] = {reached.SAY: (said := set()).add}
    exec(reached.compiled(source, "it.py"), names)
    assert names["after_its_docstring"].__doc__ == "Of a function."
    assert names["nothing_but_a_docstring"]() is None
    assert said == set(), "there is nothing in it that could run"
    with pytest.raises(ZeroDivisionError) as raised:
        names["after_its_docstring"](1)
    assert said == {"it.py"}
    assert raised.traceback[-1].lineno + 1 == 4


def test_a_module_is_compiled_anew_when_it_has_changed_and_only_then(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    compiled: list[bytes] = []
    really = reached.compiled
    monkeypatch.setattr(reached, "compiled", lambda source, path: compiled.append(source) or really(source, path))
    path = str(tmp_path / "it.py")

    def answer(source: bytes) -> tuple[int, set[str]]:
        names: dict[str, Any] = {reached.SAY: (said := set()).add}
        exec(reached.kept_or_compiled(source, path), names)
        return names["answer"](), said

    for source, expected in ((b"def answer():\n    return 41\n", 41), (b"def answer():\n    return 42\n", 42)):
        assert answer(source) == (expected, {path})
        assert answer(source) == (expected, {path})
    assert len(compiled) == 2
    (kept,) = (tmp_path / "__pycache__").iterdir()
    kept.write_bytes(kept.read_bytes()[:20])
    assert answer(source) == (42, {path})
    assert len(compiled) == 3


def test_a_docstring_is_no_line_of_a_function():
    source = '''
        class One:
            """Of a class."""

            value: int = 3

            def method(self):
                """Of a method."""
                return [
                    self,
                ]
    '''
    assert lines_in_functions(textwrap.dedent(source)) == {9, 10, 11}
