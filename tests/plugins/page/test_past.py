"""Runs of the past, as the page shows them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from musher.page import past
from musher.page.dags import DEPLOY, ROLL_BACK, TRAIN
from musher.record import History, PastRun, RecordError, RunRecord, remember
from musher.record import history as kept
from musher.report.past import past_run

RECORD = RunRecord.from_json(json.loads((Path(__file__).parents[1] / "record/record.json").read_text()))


def run(hour: int, dag: str = TRAIN, **more) -> PastRun:
    made = {"run_id": f"run-{hour}", "run": "r", "at": f"2026-11-24T{hour:02}:00:00+00:00", "state": "passed"}
    return PastRun(**{**made, "dag": dag, "headline": "Passed", **more})


def test_a_run_is_kept_with_what_its_report_says():
    began = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    line = past_run(RECORD, dag=TRAIN, run_id="a", began=began, told={"epochs": 3})
    assert (line.accuracy, line.test_images) == (RECORD.evaluation.accuracy, RECORD.evaluation.images)
    assert line.cost_usd == RECORD.costs.run_usd
    assert line.capacity_rps == RECORD.endpoint.capacity.max_rps_per_instance
    assert line.seconds == pytest.approx(300, abs=30)
    assert line.told == {"epochs": 3}
    assert line.released is None, "a training releases nothing"
    deployed = past_run(RECORD, dag=DEPLOY, run_id="b", began=None, told={})
    assert deployed.released == RECORD.release.outcome
    assert PastRun.from_json(json.loads(json.dumps(line.to_json()))) == line


def test_a_run_of_which_nothing_is_known_is_kept_as_well():
    line = past_run(RunRecord(run="r"), dag=TRAIN, run_id="a", began=None, told={})
    assert (line.accuracy, line.cost_usd, line.seconds) == (None, None, None)


def test_a_training_whose_model_is_yet_to_be_deployed_has_ended_well():
    trained = RunRecord(run="r", model=RECORD.model.replace(status="Approved"))
    line = past_run(trained, dag=TRAIN, run_id="a", began=None, told={})
    assert (line.state, line.headline) == ("passed", "Model registered")
    assert past_run(trained, dag=DEPLOY, run_id="a", began=None, told={}).state == "open"


def test_the_history_has_each_run_once_and_the_newest_thousand():
    history = History()
    for number in range(3):
        history = history.with_run(run(number))
    history = history.with_run(run(1, accuracy=0.5))
    assert [(each.run_id, each.accuracy) for each in history.runs] == [
        ("run-2", None), ("run-1", 0.5), ("run-0", None),
    ]  # fmt: skip
    full = History(runs=[run(0).replace(run_id=str(number)) for number in range(kept.MOST_RUNS)])
    assert len(full.with_run(run(5)).runs) == kept.MOST_RUNS
    assert full.with_run(run(5)).runs[0].run_id == "run-5"


def test_a_history_that_a_newer_musher_wrote_is_left_alone(s3_with):
    with pytest.raises(RecordError, match="has version 9"):
        remember(s3_with({"record_version": 9, "runs": []}), "bucket", run(1))


@pytest.fixture
def s3_with():
    class S3:
        class exceptions:
            NoSuchKey = KeyError

        def __init__(self, content):
            self.content = content

        def get_object(self, **asked):
            import io

            return {"Body": io.BytesIO(json.dumps(self.content).encode()), "ETag": '"1"'}

    return S3


def test_what_serves_since_when_is_its_last_change():
    changes = [
        run(1, DEPLOY, config="a", released="released"),
        run(2, DEPLOY, config="b", released="released"),
        run(3, DEPLOY, config="b", released="rolled back"),
        run(4, ROLL_BACK, config="a"),
        run(5, TRAIN),
    ]
    assert past.since(changes, "a").hour == 4
    assert past.since(changes, "b").hour == 2
    assert past.since(changes, "c") is None
    assert [each.run_id for each in past.releases(changes)] == ["run-4", "run-3", "run-2", "run-1"]


def test_charts_have_the_runs_that_have_a_value_the_oldest_first():
    drawn = past.charts([run(3, accuracy=0.9), run(1, accuracy=0.8), run(2), run(4, DEPLOY, capacity_rps=12.0)])
    assert [(each["title"], each["values"]) for each in drawn] == [
        ("Test accuracy", [0.8, 0.9]), ("One instance takes", [12.0]),
    ]  # fmt: skip
    assert drawn[0]["names"] == ["run-1", "run-3"]


def test_two_runs_beside_each_other_say_what_differs():
    a = run(1, told={"epochs": 3}, dataset_version="v1", images={"train": 10}, accuracy=0.9)
    b = run(2, told={"epochs": 5, "paths": "both"}, dataset_version="v1", images={"train": 12}, accuracy=0.9)
    found = {line.name: (line.values, line.differs) for lines in past.side_by_side(a, b).values() for line in lines}
    assert found["epochs"] == (("3", "5"), True)
    assert found["paths"] == (("–", "both"), True)
    assert found["Version"] == (("v1", "v1"), False)
    assert found["Pictures: train"] == (("10", "12"), True)
    assert found["Test accuracy"] == (("90.0%", "90.0%"), False)
