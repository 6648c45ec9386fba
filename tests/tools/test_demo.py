"""What the demo says before it starts anything, and while tasks run."""

from __future__ import annotations

import shutil

import pytest
from musher import record
from musher.config import TrainingConfig

from tools import demo, demo_work
from tools.demo_progress import Progress
from tools.demo_releases import Outcome
from tools.stack import Stack


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


def write(folder, splits=(("train", 40), ("valid", 8), ("test", 8)), classes=2):
    for split, count in splits:
        for label in range(classes):
            (folder / split / f"{label:03d}.Dog").mkdir(parents=True)
            for number in range(count):
                (folder / split / f"{label:03d}.Dog" / f"{number}.jpg").write_bytes(b"x")
    return folder


def test_the_dags_take_what_the_demo_asks_for(tmp_path):
    asked = demo_work.params(str(write(tmp_path)))
    config = TrainingConfig.from_params(asked)
    assert {name: getattr(config, name) for name in asked} == asked


@pytest.mark.parametrize("layout", ["folder", "zip", "gztar"])
def test_training_pictures_are_counted_by_their_names(tmp_path, layout):
    folder = write(tmp_path / "dogs")
    path = folder if layout == "folder" else shutil.make_archive(str(tmp_path / "a"), layout, tmp_path, "dogs")
    assert demo_work.training_pictures(str(path)) == 80


@pytest.mark.parametrize("dataset", ["s3://bucket/dogs/", "https://somewhere/dogs.zip", "no/such/folder"])
def test_pictures_that_nobody_has_counted_get_a_few_views(dataset):
    assert demo_work.training_pictures(dataset) is None
    assert 0 < demo_work.params(dataset)["augment_views"] < demo_work.MOST_VIEWS


def test_a_damaged_archive_is_left_to_the_task_that_reads_it(tmp_path):
    damaged = tmp_path / "a.zip"
    damaged.write_bytes(b"PK\x03\x04 no zip")
    assert demo_work.training_pictures(str(damaged)) is None


def test_the_work_grows_no_more_than_the_pictures_make_it():
    work = {count: count * (1 + demo_work.extra_views(count)) for count in (0, 1, 150, 300, 1500, 3600, 20_000)}
    assert all(abs(work[count] - demo_work.TRAINING_VIEWS) < count for count in (150, 300, 1500))
    # From there on each picture is looked at once, and that much is left.
    assert (work[3600], work[20_000]) == (3600, 20_000)
    assert work[1] == 1 + demo_work.MOST_VIEWS


@pytest.mark.parametrize(
    ("passed", "first"), [(True, "PASSED: all 3 checks hold"), (False, "FAILED: 1 of 3 checks: it goes back")]
)
def test_the_releases_count_as_checks(monkeypatch, passed, first):
    lines: list[str] = []
    monkeypatch.setattr(demo, "say", lambda text: lines.extend(text.splitlines()))
    verdict = record.Verdict(passed=True, checks=[record.Check(name="no throttle", passed=True)])
    releases = [
        Outcome("it takes over", True, "released; 0 of 90 calls failed", "released", None, "release.html"),
        Outcome("it goes back", passed, "rolled back within 1 s", "rolled back", None, "taken-back.html"),
    ]

    assert demo.conclude(record.RunRecord(run="a", verdict=verdict), Stack(), releases) is passed
    assert lines[0] == first
    assert f"  ✓ it takes over: released; 0 of 90 calls failed ({demo.RESULTS / 'release.html'})" in lines
    told = [line for line in lines if "it goes back: rolled back within 1 s" in line]
    assert [line.strip()[0] for line in told] == ["✓" if passed else "✗"]
