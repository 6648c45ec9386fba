"""The runbook: a row for every task and check, and only sentences that the code says."""

from __future__ import annotations

import ast
import functools
import html
import re
from collections.abc import Collection

import pytest
from musher.release import rehearsal

from tests.docs.pages import DOCS, ROOT, rows, section
from tools import reference_docs

RUNBOOK = (DOCS / "runbook.md").read_text()
DAGS = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))
GAP = reference_docs.GAP


def tasks_of(dag_id: str) -> set[str]:
    calls = [
        node for node in ast.walk(ast.parse((ROOT / f"dags/{dag_id}.py").read_text())) if isinstance(node, ast.Call)
    ]
    named = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "task_id"]
    assert all(isinstance(each, ast.Constant) for each in named), f"{dag_id} has a task id that is no text"
    return {each.value for each in named}


def test_the_runbook_has_a_section_for_each_dag_and_for_nothing_else():
    assert sorted(re.findall(r"^## `(\w+)`$", RUNBOOK, re.MULTILINE)) == DAGS


@pytest.mark.parametrize("dag_id", DAGS)
def test_every_task_has_a_row_and_every_row_a_task(dag_id):
    table = [cells for cells in rows(section(RUNBOOK, dag_id)) if cells[0].startswith("`")]
    assert {cells[0].strip("`") for cells in table} == tasks_of(dag_id)
    assert len(table) == len(tasks_of(dag_id))
    assert {len(cells) for cells in table} == {4}
    assert all(cell.strip() for cells in table for cell in cells)


@functools.cache
def sentences() -> set[str]:
    """Every text in the code that a task may fail with, with gaps for its values."""
    found = set()
    for path in [*(ROOT / "plugins/musher").rglob("*.py"), *(ROOT / "ml_scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.add(reference_docs.template(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def quoted() -> list[str]:
    text = html.unescape("\n".join(" | ".join(cells) for cells in rows(RUNBOOK)))
    return sorted(set(re.findall(r'"([^"]+)"', text)))


def said_by(quote: str, texts: Collection[str]) -> bool:
    """Whether one text of the code has the quoted words, in their order, with whatever stands in the gaps."""
    parts = quote.split(GAP)
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    longest = max(parts, key=len)  # to look for it first takes a tenth of the time
    return any(longest in text and pattern.search(text) for text in texts)


def test_the_runbook_quotes_what_the_code_says():
    texts, quotes = sentences(), quoted()
    assert len(quotes) > 40
    assert [quote for quote in quotes if not said_by(quote, texts)] == []


def test_a_sentence_that_nobody_says_would_be_found():
    assert not said_by(f"max_cost_usd is {GAP}, and nobody knows what {GAP} costs", sentences())


def test_every_check_of_the_verdict_has_a_row():
    tree = ast.parse((ROOT / "plugins/musher/load/verdict.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_check"]
    checks = {node.args[0].value for node in calls} | {rehearsal.PARITY, rehearsal.LATENCY, rehearsal.PACE}
    assert len(checks) >= 9
    assert checks == {
        cells[0].strip('"') for cells in rows(RUNBOOK) if len(cells) == 2 and cells[0].strip('"') in checks
    }
