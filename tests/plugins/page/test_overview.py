"""The page "Musher" from what was read, without AWS and Airflow."""

from __future__ import annotations

import datetime as dt
import types

import pytest
from musher.page import answers, overview, past, serving
from musher.page.dags import DEPLOY, TRAIN
from musher.page.reader import Seen
from musher.record import History, PastRun
from musher.release.registered import Accuracy

NOW = dt.datetime.now(dt.UTC)
EVIL = "\"'><script>alert(1)</script>{{ 7*7 }}"
ALL = overview.Rights(histories=(TRAIN, DEPLOY), costs=True, roll_back=True, deploy=True)
SERVES = serving.Serving(
    endpoint="musher-image-classifier", status="InService", config="new", instances=2, instance_type="ml.m5.large",
    since=NOW, before="old", package_arn="arn:aws:sagemaker:us-east-1:1:model-package/group/3",
    accuracy=Accuracy(0.9, 50), interval=(0.78, 0.96), dataset_version="v1", dag_run=(TRAIN, "a run"), month_usd=168.0,
)  # fmt: skip


def page(seen=None, allowed=ALL):
    none = {"serving": Seen(at=NOW), "live": Seen(at=NOW), "traffic": Seen(value=serving.Traffic(), at=NOW)}
    none |= {("history", dag): Seen(value=past.Known(History()), at=NOW) for dag in allowed.histories}
    request = types.SimpleNamespace(scope={"root_path": "/musher"}, headers={})
    values = overview.shown({**none, **(seen or {})}, allowed)
    return answers.page(request, "overview.html.jinja", **values).body.decode()


def test_where_nothing_is_yet_each_panel_says_what_would_be_there():
    found = page()
    assert "Nothing is deployed." in found
    assert "No release yet." in found
    assert "No run has ended yet." in found
    assert 'id="roll-back"' not in found


def test_what_serves_is_there_with_its_figures():
    minute = int(NOW.timestamp()) // 60 * 60
    hour = serving.Traffic([minute - 60, minute], [12.0, 3.0], [3.0, 0.0], [80.4, None])
    found = page({"serving": Seen(SERVES, NOW), "traffic": Seen(hour, NOW)})
    for text in ("group/3", "90.0%", "78.0% to 96.0%", "ml.m5.large", "$168.00", "80.4 ms", "20.0%", "15 in the last"):
        assert text in found, text


def test_a_viewer_has_no_button_that_would_be_refused():
    viewer = overview.Rights(histories=(TRAIN,), costs=False, roll_back=False, deploy=False)
    found = page({"serving": Seen(SERVES, NOW)}, viewer)
    assert '<button type="button" id="roll-back" data-dag="roll_back_deployment" disabled>' in found
    assert "You may look" in found
    assert 'id="photo"' not in found
    assert 'id="costs"' not in found
    assert 'id="roll-back" data-dag="roll_back_deployment">' in page({"serving": Seen(SERVES, NOW)})


def test_a_panel_whose_reading_failed_says_so_and_shows_what_it_last_knew():
    old = Seen(SERVES, NOW - dt.timedelta(minutes=7), "AWS does not answer: timeout")
    found = page({"serving": old})
    assert "AWS does not answer: timeout" in found
    assert "What is shown is of" in found
    assert "group/3" in found
    assert page({"serving": Seen(problem="no rights")}).count("no rights") == 1


@pytest.mark.parametrize("field", ["headline", "because", "run_id", "package_arn", "instance_type", "config"])
def test_nothing_that_a_run_is_called_becomes_html(field):
    made = {"dag": DEPLOY, "run_id": "r", "run": "r", "at": NOW.isoformat(), "state": "passed", "headline": "Passed"}
    run = PastRun(**{**made, "released": "released", "accuracy": 0.5, "capacity_rps": 2.0, field: EVIL})
    found = page({("history", DEPLOY): Seen(past.Known(History(runs=[run])), NOW)})
    assert "<script>alert" not in found
    lines = past.side_by_side(run, run.replace(told={EVIL: EVIL}))
    request = types.SimpleNamespace(scope={"root_path": "/musher"}, headers={})
    beside = answers.page(request, "compare.html.jinja", a=run, b=run, lines=lines).body.decode()
    assert "<script>alert" not in beside
