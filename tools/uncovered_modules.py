"""Which modules have functions, none of which a quick test executes: `python -m tools.uncovered_modules FILE ...`.

Each FILE names modules of which a test has executed a function, one a line; `make check` has its tests write it (see
tests/reached.py). A module without functions has nothing that a test could execute.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

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


def uncovered(files: Iterable[Path], reached: Iterable[Collection[str]]) -> list[Path]:
    """Those of the files that have functions, none of which any test has executed."""
    known = set().union(*reached)
    return [file for file in files if str(file) not in known and lines_in_functions(file.read_text())]


def main() -> int:
    reached = [Path(name).read_text().splitlines() for name in sys.argv[1:] if Path(name).exists()]
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    found = [file.relative_to(ROOT) for file in uncovered(files, reached)]
    print(f"Of {len(files)} modules these {len(found)} have functions, and no quick test executes one of them:")
    for folder in sorted({file.parent for file in found}):
        print(f"  {folder}/: {', '.join(file.name for file in found if file.parent == folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
