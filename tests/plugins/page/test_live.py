"""The panel of live pictures: what is held beside what, what is said of it, and what is shown to whom."""

from __future__ import annotations

import datetime as dt
import json
import random
import types

import pytest
from musher import record
from musher.hooks.in_service import InService, NotToBeTold
from musher.page import live, overview
from musher.page.captured import Call, Captured
from musher.page.live import Live
from musher.page.reader import Seen

from tests.plugins.page.capturing import NOW, WEIGHTS, Bucket, line, photo
from tests.plugins.page.test_overview import ALL, EVIL, page

CLASSES = ["001.Ash_spitz", "002.Amber_hound"]


def judged(sure, classes=CLASSES):
    pictures = [(f"{number}.jpg", number + 1, 0, number % 2, each) for number, each in enumerate(sure)]
    return record.Predictions(weights=WEIGHTS, classes=list(classes), pictures=pictures)


def call(number, probability=0.9, label=CLASSES[0], **more):
    made = {"at": NOW, "picture": str(number), "bytes": 10_000 + number, "weights": WEIGHTS, "key": "k", "line": number}
    return Call(**{**made, "label": label, "probability": probability, **more})


def draws(count, skill, seed=0):
    chance = random.Random(seed)
    return [chance.betavariate(skill, 1) for _ in range(count)]


def compared(sure, test_sure):
    return live.compare([call(number, each) for number, each in enumerate(sure)], judged(test_sure))


def test_nothing_is_said_of_five_pictures_however_strange():
    found = compared([0.01] * 5, draws(48, 8))
    assert found.sentence == "5 callers' pictures are too few to say whether the two are alike: it takes 30 of each."
    assert (found.differs, found.p_value) == (False, None)
    assert "48" not in found.sentence
    assert "5 test pictures are too few" in compared(draws(40, 8), [0.9] * 5).sentence


def test_what_is_of_one_kind_is_called_so_with_what_would_have_been_noticed():
    found = compared(draws(60, 8, 1), draws(48, 8, 2))
    assert not found.differs
    assert "cannot be told from the test set's" in found.sentence
    assert "32 points would have been noticed" in found.sentence


def test_the_model_being_less_sure_is_said_and_so_is_its_being_more():
    less, more = compared(draws(60, 2), draws(48, 20)), compared(draws(60, 20), draws(48, 2))
    assert less.differs
    assert more.differs
    assert less.sentence.startswith("The model is less sure of callers' pictures")
    assert "Look at the pictures below" in less.sentence
    assert more.sentence.startswith("The model is more sure of callers' pictures")


def test_equal_pictures_count_once_the_test_sets_own_and_other_models_answers_not_at_all():
    calls = [call(1, 0.8), call(1, 0.7), call(2), call(3, bytes=1), call(4, weights="another"), call(5, weights="")]
    found = live.compare(calls, judged([0.9, 0.9]))
    assert (found.calls, found.own, found.others) == (6, 1, 1)
    assert [(each.picture, each.probability) for each in found.pictures] == [("1", 0.8), ("2", 0.9), ("5", 0.9)]


def test_shares_of_classes_have_intervals_that_hold_at_once_and_the_rest_is_one_line():
    many = [f"{number:03}.Breed" for number in range(20)]
    pictures = [call(number, label=many[number % 3]) for number in range(30)]
    lines = live.shares(pictures, judged([0.9] * 4, many))
    assert [(each.label, each.classes, each.callers) for each in lines[:3]] == [
        ("000.Breed", 1, 10), ("001.Breed", 1, 10), ("002.Breed", 1, 10),
    ]  # fmt: skip
    assert (lines[0].test, lines[0].test_share) == (2, 0.5)
    rest = lines[-1]
    assert (len(lines), rest.label, rest.classes, rest.callers, rest.test) == (3, "002.Breed", 1, 10, 0)
    from musher.release.registered import wilson

    assert lines[0].interval == wilson(10, 30, 1 - 0.05 / 3)
    spread = live.shares([call(number, label=many[number]) for number in range(20)], None)
    assert (len(spread), spread[-1].label, spread[-1].classes, spread[-1].callers) == (12, "", 9, 9)


def test_the_most_foreign_are_those_it_is_least_sure_of():
    found = live.foreign([call(number, number / 10) for number in range(1, 10)], judged([0.05, 0.15, 0.9]))
    assert [(each.call.probability, each.lower) for each in found[:2]] == [(0.1, 1), (0.2, 2)]
    assert len(found) == live.FOREIGN


@pytest.fixture
def bucket():
    made = Bucket()
    made.objects["runs/run-1/predictions.json"] = json.dumps(judged(draws(40, 8)).to_json()).encode()
    return made


@pytest.fixture
def read(bucket, monkeypatch):
    told = {"DataCaptureConfig": {
        "EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 20,
        "DestinationS3Uri": "s3://b/capture",
    }}  # fmt: skip
    model = InService("m", {"CustomerMetadataProperties": {"run_key": "run-1"}, "ModelPackageArn": "arn"}, "s3://b/m")
    monkeypatch.setattr(live, "in_service", lambda sagemaker, endpoint: model)
    sagemaker = types.SimpleNamespace(describe_endpoint=lambda EndpointName: told)
    environment = types.SimpleNamespace(project="musher", bucket="b")
    clients = {"sagemaker": sagemaker, "s3": bucket}
    aws = types.SimpleNamespace(environment=environment, client=lambda service: clients[service])
    bucket.told = told["DataCaptureConfig"]
    return lambda before=None: live.read(aws, before)


def test_a_round_reads_what_is_new_and_makes_each_small_picture_once(bucket, read, monkeypatch):
    now = dt.datetime.now(dt.UTC)
    bucket.capture(now, line(photo(1), CLASSES[0], 0.4, at=now))
    first = read()
    assert (first.deployed, first.percent, first.elsewhere, len(first.compared.pictures)) == (True, 20, "", 1)
    assert first.foreign[0].thumbnail
    monkeypatch.setattr(live, "thumbnails", lambda asked: pytest.fail("nothing is new") if asked else [])
    bucket.asked.clear()
    assert read(first).compared is first.compared
    assert [each for each in bucket.asked if each[0] == "get"] == []
    monkeypatch.undo()


def test_a_bucket_of_somebody_elses_a_model_that_is_not_told_and_a_damaged_record_are_sentences(
    bucket, read, monkeypatch
):
    bucket.told["DestinationS3Uri"] = "s3://other/capture"
    assert read().elsewhere == "s3://other/capture"
    bucket.objects["runs/run-1/predictions.json"] = b"{"
    assert read().untold.startswith("runs/run-1/predictions.json is damaged")
    del bucket.objects["runs/run-1/predictions.json"]
    assert "has no predictions" in read().untold
    bucket.told["EnableCapture"] = False
    assert read().percent == 0

    def unknown(sagemaker, endpoint):
        raise NotToBeTold("it may not be read")

    monkeypatch.setattr(live, "in_service", unknown)
    assert read().untold == "Which model serves is not known: it may not be read."


def shown(value, allowed=ALL):
    found = page({"live": Seen(value, NOW)}, allowed)
    return found[found.index('id="live"') : found.index('id="history"')]


def panel(sure=tuple(draws(40, 2)), label=EVIL):
    calls = [call(number, each, label) for number, each in enumerate(sure)]
    known = judged(draws(48, 20))
    found = live.compare(calls, known)
    small = [live.Foreign(each.call, each.lower, "c21hbGw=") for each in live.foreign(found.pictures, known)]
    return Live(True, 20, "", Captured(tuple(calls)), known, "", found, tuple(small))


def test_the_panel_has_shares_counts_window_and_the_pictures_for_who_may_deploy():
    found = shown(panel())
    assert "<script>alert" not in found
    assert "The model is less sure" in found
    assert found.count("data:image/jpeg;base64,c21hbGw=") == live.FOREIGN
    assert "20% of the calls" in found
    viewer = overview.Rights(histories=(), costs=False, roll_back=False, deploy=False)
    found = shown(panel(), viewer)
    assert "data:image" not in found
    assert "shown to who may trigger" in found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Live(), "Nothing is deployed."),
        (Live(True, compared=live.compare([], None)), "No calls are captured now"),
        (Live(True, 20, compared=live.compare([], None)), "No call has been captured yet"),
        (Live(True, 20, "s3://x", compared=live.compare([], None)), "which this page does not read"),
        (Live(True, 20, compared=live.compare([call(0, bytes=1)], judged([0.9]))), "only pictures of the test set"),
        (Live(True, 20, compared=live.compare([call(0, weights="x")], judged([0.9]))), "another model answered"),
        (Live(True, 20, compared=live.compare([call(0)], None), untold="No record."), "nothing to hold them beside"),
        (Live(True, 20, captured=Captured(unreadable=3), compared=live.compare([], None)), "3 captured lines are no"),
    ],
)
def test_where_there_is_little_to_show_it_says_why(value, said):
    assert said in shown(value)
