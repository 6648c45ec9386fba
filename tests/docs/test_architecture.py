"""The page on the architecture: its names are those that the code makes."""

from __future__ import annotations

import re

from musher.names import EVALUATE_IN_SERVICE, TRAIN_MANY, TRAIN_ONE, TUNE, Run
from musher.record import PARTS

from tests.docs.pages import DOCS

ARCHITECTURE = (DOCS / "architecture.md").read_text()


def test_the_names_in_the_architecture_are_those_that_the_code_makes():
    run = Run("train_image_classifier", "manual__2026-11-21T09:30:00+00:00")
    assert run.run_id in ARCHITECTURE
    for name in (f"runs/{run.key}/", *(run.name("musher", step) for step in (TUNE, TRAIN_ONE, TRAIN_MANY))):
        assert f"`{name}`" in ARCHITECTURE
    assert f"`{run.name('musher', EVALUATE_IN_SERVICE)}`" in ARCHITECTURE


def test_the_architecture_lists_the_parts_of_the_record():
    listed = re.search(r"The parts: (.*?)\. A deployment", ARCHITECTURE, re.DOTALL)
    assert listed
    assert re.findall(r"`(\w+)`", listed[1]) == list(PARTS)
