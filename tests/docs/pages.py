"""What the tests of the documentation read: its pages, their code blocks and their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(DOCS.glob("*.md")),
    *(path for folder in ("infra", "local_aws") for path in (ROOT / folder).glob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. `info` is what stands behind the fence: the language, and for commands their kind."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order. Raises ValueError for one that is never closed."""
    found, opened = [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("```"):
            if opened:
                opened[2].append(line)
        elif opened is None:
            opened = (number, line[3:].strip(), [])
        else:
            found.append(Block(page, opened[0], opened[1], "".join(f"{each}\n" for each in opened[2])))
            opened = None
    if opened:
        raise ValueError(f"{page}, line {opened[0]}: the block is never closed")
    return found


def rows(text: str) -> list[list[str]]:
    """The cells of a page's tables, without their heads."""
    found = [line.strip()[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in found if not cells[0].startswith(("task", "check", "what the error"))]


def section(text: str, title: str) -> str:
    """One section of a page, by its second-level head."""
    found = re.search(rf"^## `?{title}`?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title}"
    return found[1]
