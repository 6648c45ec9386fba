"""What the pages point to is there: files, headings, make's targets, commands of the local AWS."""

from __future__ import annotations

import re

import pytest

from local_aws.__main__ import COMMANDS
from tests.docs.pages import PAGES, ROOT

FOLDERS = ("dags/", "plugins/musher/", "ml_scripts/", "lambda/", "local_aws/", "tools/", "infra/", "tests/", "docs/")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_what_a_page_points_to_is_there(page):
    text = page.read_text()
    for target, anchor in re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, anchor
    for path in re.findall(r"`([\w/.]+/[\w.]*)`", text):
        if path.startswith(FOLDERS):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_that_a_page_names_exists(page):
    text = page.read_text()
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= TARGETS
    assert set(re.findall(r"-m local_aws ([a-z]+)", text)) <= set(COMMANDS)
