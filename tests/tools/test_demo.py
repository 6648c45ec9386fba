"""What the demo says before it starts anything, and while tasks run."""

from __future__ import annotations

import pytest
from musher.config import TrainingConfig

from tools import demo
from tools.demo_progress import Progress


@pytest.mark.parametrize("dataset", ["no/such/folder", "no-such.zip"])
def test_a_data_set_that_is_not_there_is_one_sentence(dataset):
    with pytest.raises(demo.DemoError) as error:
        demo.checked(dataset)
    assert f"DATASET is '{dataset}'" in str(error.value)
    assert ".zip" in str(error.value)


def test_an_address_of_another_kind_is_refused():
    with pytest.raises(demo.DemoError, match="has to begin with http://"):
        demo.checked("ftp://somewhere/dogs.zip")


@pytest.mark.parametrize("dataset", ["s3://bucket/dogs/", "https://somewhere/dogs.zip"])
def test_addresses_are_handed_on(dataset):
    assert demo.checked(dataset) == dataset


def test_a_local_path_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "dogs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert demo.checked("dogs") == str(tmp_path / "dogs")


def task(state: str | None, start: int | None = None, end: int | None = None, tries: int = 1) -> dict:
    def stamp(second):
        return None if second is None else f"2026-01-01T00:00:{second:02d}Z"

    facts = {"task_id": "tune", "map_index": -1, "state": state, "try_number": tries}
    return facts | {"start_date": stamp(start), "end_date": stamp(end)}


def test_a_deferred_task_counts_from_its_first_start():
    lines: list[str] = []
    progress = Progress(lines.append)
    for seen in (task(None), task("running", 1), task("deferred", 1), task("running", 9), task("success", 9, 11)):
        progress([seen])
        progress([seen])
    assert [line.split()[1:] for line in lines] == [["start", "tune"], ["done", "tune", "10.0", "s"]]


def test_each_failed_try_is_one_line():
    lines: list[str] = []
    progress = Progress(lines.append)
    for seen in (task("running", 1), task("up_for_retry", 1, 2), task("running", 5, None, 2), task("failed", 5, 8, 2)):
        progress([seen])
    assert [line.split()[1] for line in lines] == ["start", "retry", "FAILED"]


def test_the_dags_take_what_the_demo_asks_for():
    config = TrainingConfig.from_params(demo.DEMO_PARAMS)
    assert {name: getattr(config, name) for name in demo.DEMO_PARAMS} == demo.DEMO_PARAMS
