"""A module is covered when a test executes one of its functions, not when it is imported."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from coverage import CoverageData

from tools.uncovered_modules import lines_in_functions, uncovered

SOURCES = {
    "called": "def answer():\n    return 42\n",
    "imported": "def answer():\n    '''Says it.'''\n    return 42\n",
    "called_at_import": "def answer():\n    return 42\n\nFOUND = answer()\n",
    "without_functions": "FOUND = 42\n",
}
# As pytest-cov does it: the context of a line is the test that is running.
MEASURE = """
import coverage, sys
measured = coverage.Coverage(data_file="data", source=["."])
measured.start()
import called, called_at_import, imported, without_functions
measured.switch_context("tests/test_it.py::test_it|run")
called.answer()
measured.stop()
measured.save()
"""


@pytest.fixture
def data(tmp_path) -> CoverageData:
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
    environment = {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", MEASURE], cwd=tmp_path, env=environment, check=True, timeout=60)
    data = CoverageData(basename=str(tmp_path / "data"))
    data.read()
    return data


def test_import_is_no_cover(tmp_path, data):
    files = [tmp_path / f"{name}.py" for name in SOURCES]
    assert [file.stem for file in uncovered(files, [data])] == ["imported", "called_at_import"]


def test_one_of_several_measurements_is_enough(tmp_path, data):
    other = CoverageData(no_disk=True)
    other.set_context("a test")
    other.add_lines({str(tmp_path / "imported.py"): [3]})
    assert uncovered([tmp_path / "imported.py"], [data, other]) == []


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
