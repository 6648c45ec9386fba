"""The pages of docs/ that are made from the code."""

from __future__ import annotations

import pytest
from musher.config import TrainingConfig

from tests.docs.pages import DOCS
from tools import reference_docs


@pytest.mark.parametrize("name", reference_docs.PAGES)
def test_a_committed_page_is_what_the_code_gives(name):
    current = (DOCS / name).read_text() == reference_docs.PAGES[name]()
    assert current, f"docs/{name} is not what the code gives; `make docs` mends it."


def test_make_docs_writes_what_has_changed_and_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reference_docs, "PAGES", {"one.md": lambda: "new\n", "two.md": lambda: "same\n"})
    (tmp_path / "one.md").write_text("old\n")
    (tmp_path / "two.md").write_text("same\n")

    reference_docs.main(tmp_path)

    assert (tmp_path / "one.md").read_text() == "new\n"
    assert capsys.readouterr().out == "docs/one.md: written\ndocs/two.md: as it was\n"


def test_a_dags_own_default_is_the_one_that_is_shown(tmp_path):
    source = '"""# Title\n\nAbout it.\n"""\n@dag(params=TrainingConfig.params(accuracy_floor=0.9))\ndef mine(): ...\n'
    (tmp_path / "mine.py").write_text(source)

    (found,) = reference_docs.dags(tmp_path)
    tables = "\n".join(reference_docs._of_dag(TrainingConfig, found.defaults))

    assert (found.dag_id, found.about, found.config) == ("mine", "About it.", "TrainingConfig")
    assert "| `accuracy_floor` | number | 0 to 1 | `0.9` |" in tables
    assert "| `max_jobs` | whole number | 1 to 500 | `4` |" in tables


def test_params_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "mine.py").write_text('"""# Title\n\nAbout."""\n@dag(params={"a": 1})\ndef mine(): ...\n')
    with pytest.raises(ValueError, match=r"mine\.py has params that are not SomeConfig\.params"):
        reference_docs.dags(tmp_path)
