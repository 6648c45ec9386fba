"""What the tab of a run shows, from what lies in the bucket."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import types
from pathlib import Path

import pytest
from musher.page import report
from musher.page.runs import Shown

RECORD = json.loads((Path(__file__).parents[1] / "record/record.json").read_text())
NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
EVIL = "</title><script>alert(1)</script>"


class Bucket:
    """What of S3 a report is read by; each object's time is one second after the one before."""

    exceptions = types.SimpleNamespace(NoSuchKey=KeyError)

    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}
        self.gets: list[str] = []

    def put(self, key: str, body: bytes) -> None:
        at = NOW + dt.timedelta(seconds=len(self.objects))
        self.objects.pop(key, None)
        self.objects[key] = {"Key": key, "Body": body, "ETag": hashlib.md5(body).hexdigest(), "LastModified": at}

    def part(self, name: str, content: object, run: str = "run-1") -> None:
        self.put(f"runs/{run}/{name}.json", json.dumps(content).encode())

    def get_paginator(self, name: str):
        assert name == "list_objects_v2"

        def found(**asked):
            return [{"Contents": [each for key, each in self.objects.items() if key.startswith(asked["Prefix"])]}]

        return types.SimpleNamespace(paginate=found)

    def get_object(self, **asked) -> dict:
        self.gets.append(asked["Key"])
        return {**self.objects[asked["Key"]], "Body": io.BytesIO(self.objects[asked["Key"]]["Body"])}


@pytest.fixture
def bucket():
    return Bucket()


@pytest.fixture
def read(bucket):
    environment = types.SimpleNamespace(bucket="b", kind="local", region="us-east-1")
    aws = types.SimpleNamespace(environment=environment, client=lambda service: bucket)

    def read(before=None, dag="train_image_classifier", key="run-1"):
        return report.reading(aws, Shown(dag, "a run", "running", NOW, key))(before)

    return read


def test_a_run_without_a_record_has_no_report(read):
    assert read().html == ""


def test_what_is_known_so_far_is_shown_without_charts_and_says_that_more_may_come(bucket, read):
    bucket.part("dataset", RECORD["dataset"])
    bucket.part("tuning", RECORD["tuning"])
    known = read()
    assert not known.finished
    assert "In progress" in known.html
    assert RECORD["dataset"]["version"] in known.html
    assert "<svg" not in known.html
    assert "Training has not been run yet." in known.html


def test_only_what_has_changed_is_read_again(bucket, read):
    bucket.part("dataset", RECORD["dataset"])
    bucket.part("tuning", RECORD["tuning"])
    known = read()
    bucket.gets.clear()
    assert read(known) is known
    assert bucket.gets == []
    bucket.part("evaluation", RECORD["evaluation"])
    more = read(known)
    assert bucket.gets == ["runs/run-1/evaluation.json"]
    assert more.version != known.version


def test_a_finished_report_is_shown_as_it_was_written_until_something_is_added(bucket, read):
    bucket.part("dataset", RECORD["dataset"])
    bucket.put("runs/run-1/report.html", b"<p>as written</p>")
    known = read()
    assert (known.html, known.finished) == ("<p>as written</p>", True)
    bucket.part("endpoint", RECORD["endpoint"])
    added = read(known)
    assert (added.finished, added.superseded) == (False, True)
    assert RECORD["endpoint"]["name"] in added.html


def test_a_part_that_cannot_be_read_is_a_sentence_and_what_it_says_is_no_html(bucket, read):
    bucket.part("dataset", {**RECORD["dataset"], "source": EVIL, "classes": [EVIL]})
    bucket.put("runs/run-1/tuning.json", b"<script>")
    known = read()
    assert "runs/run-1/tuning.json is damaged" in known.html
    assert "<script" not in known.html


def test_a_part_that_was_taken_back_is_none(bucket, read):
    bucket.part("dataset", None)
    assert read().html == ""


def test_a_roll_back_is_told_in_its_sentence(bucket, read):
    part = {"config": "old", "previous_config": "new", "instances": 1, "instance_type": "ml.m5.large"}
    bucket.part("roll_back", part)
    assert read().notes == ("old serves again, instead of new.",)


def test_the_running_costs_are_the_days(bucket, read):
    bucket.put("runs/running-costs/2026-11-24.html", b"<p>costs</p>")
    assert read(dag="report_running_costs").html == "<p>costs</p>"
    bucket.objects.clear()
    assert read(dag="report_running_costs").html == ""


def test_a_record_is_never_read_from_another_folder(bucket, read):
    bucket.put("runs/../secret/dataset.json", b"{}")
    assert read(key="../secret").html == ""
