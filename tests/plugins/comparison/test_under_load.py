"""Two models asked by the real sender, in this process."""

from __future__ import annotations

import pytest
from musher.comparison.under_load import FIRST_CALLS, UnderLoad
from musher.load.outcome import Outcome
from musher.load.pictures import LabelledPicture
from musher.load.results import OfferLimits

PICTURES = [LabelledPicture(f"x/{number}.png", "x", bytes([number])) for number in range(30)]


class Model:
    """Says x of every picture but those that it takes for y or fails at; remembers what it was asked."""

    def __init__(self, wrong=(), failing=()):
        self.wrong, self.failing, self.asked = wrong, failing, []

    def __call__(self, payload):
        self.asked.append(payload[0])
        if payload[0] in self.failing:
            return Outcome("failed", "ModelError", "cannot reshape")
        label = "y" if payload[0] in self.wrong else "x"
        answer = {"predictions": [{"label": label, "probability": 0.9}]}
        return Outcome("succeeded", weights="abc", answer=answer)


def load(a, b, **more):
    found = UnderLoad({"a": a, "b": b}, PICTURES, latency_limit_ms=2000, step_seconds=0.2, **more)
    found.limits = OfferLimits(send_lag_p99_ms=10_000)  # this machine may be busy
    return found


def test_both_get_the_same_pictures_at_a_rate_and_others_at_the_next():
    a, b, told = Model(), Model(), []
    asked = load(a, b, on_block=told.append)
    for turn in range(3):
        for variant in "ba":
            assert asked.measure(variant, 40.0, turn).taken
    assert sorted(a.asked) == sorted(b.asked)
    assert len(a.asked) == 24
    assert len(set(a.asked)) > 16
    assert [(each.variant, each.sent) for each in told] == [("b", 8), ("a", 8)] * 3
    assert asked.calls == 48


def test_a_block_says_what_failed_and_why_the_rate_was_not_taken():
    block = load(Model(), Model(failing=range(30))).measure("b", 40.0, 0)
    assert (block.sent, block.failed, block.latencies_ms) == (8, 8, ())
    assert block.why.startswith("8 of 8 requests failed, most by ModelError")
    assert block.offered


def test_every_picture_is_asked_about_once(monkeypatch):
    monkeypatch.setattr("musher.comparison.under_load.MOST_RPS", 100.0)
    a, b = Model(wrong={3, 4}), Model(failing={7})
    asked = load(a, b)
    pictures, weights = asked.labelled()
    assert sorted(a.asked[FIRST_CALLS:]) == sorted(b.asked[FIRST_CALLS:]) == list(range(30))
    assert [each.file for each in pictures] == [each.file for each in PICTURES]
    assert [each.file for each in pictures if each.a != "x"] == ["x/3.png", "x/4.png"]
    assert [each.file for each in pictures if each.b is None] == ["x/7.png"]
    assert weights == {"a": ["abc"], "b": ["abc"]}
    assert asked.calls == 2 * (30 + FIRST_CALLS)


@pytest.mark.parametrize("answer", [None, {"predictions": []}, {"predictions": "x"}])
def test_an_answer_without_predictions_is_none(answer, monkeypatch):
    monkeypatch.setattr("musher.comparison.under_load.MOST_RPS", 100.0)
    pictures, _ = load(Model(), lambda payload: Outcome("succeeded", answer=answer)).labelled()
    assert {each.b for each in pictures} == {None}
