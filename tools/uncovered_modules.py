"""Which modules have functions, none of which a quick test executes: `python -m tools.uncovered_modules DATA ...`.

DATA are coverage.py's files, written with the test as the context of each line: what runs when a module is merely
imported has none, and does not count. A module without functions has nothing that a test could execute.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

from coverage import CoverageData

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("dags", "plugins", "ml_scripts", "lambda", "local_aws", "tools")


def lines_in_functions(source: str) -> set[int]:
    """The numbers of the lines that belong to a function's body, its docstring left out."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if body:
                found.update(range(body[0].lineno, (node.end_lineno or body[0].lineno) + 1))
    return found


def lines_of_tests(data: CoverageData, file: Path) -> set[int]:
    """The lines of a file that ran while a test did."""
    return {line for line, contexts in data.contexts_by_lineno(str(file)).items() if any(contexts)}


def uncovered(files: Iterable[Path], data: Iterable[CoverageData]) -> list[Path]:
    """Those of the files that have functions, none of which any test has executed."""
    known = list(data)
    found = []
    for file in files:
        within = lines_in_functions(file.read_text())
        if within and not any(within & lines_of_tests(each, file) for each in known):
            found.append(file)
    return found


def main() -> int:
    data = []
    for name in sys.argv[1:]:
        if Path(name).exists():
            data.append(CoverageData(basename=name))
            data[-1].read()
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    found = [file.relative_to(ROOT) for file in uncovered(files, data)]
    print(f"Of {len(files)} modules these {len(found)} have functions, and no quick test executes one of them:")
    for folder in sorted({file.parent for file in found}):
        print(f"  {folder}/: {', '.join(file.name for file in found if file.parent == folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
