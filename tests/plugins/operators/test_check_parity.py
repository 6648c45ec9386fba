"""Whether what was deployed is what was judged: a real endpoint and a real function, asked about pictures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from musher import record
from musher.hooks.serving import ServingHook
from musher.load.outcome import Outcome
from musher.load.pictures import LabelledPicture
from musher.load.results import OfferLimits
from musher.operators import load_test, parity
from musher.operators.deployment import DeployFunctionOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.load_test import MeasureCapacityOperator
from musher.operators.parity import CheckParityOperator
from musher.release import rehearsal

from tests.plugins.operators.labelled import WEIGHTS, model_archive, picture, pictures, put

LIMIT_MS = 20_000  # no test of how fast this machine is


@pytest.fixture(autouse=True)
def twice_as_fast_as_else(monkeypatch):
    monkeypatch.setattr(parity, "MOST_RPS", 20.0)


PICTURES = pictures(3)


def probability(file: str) -> float:
    """Of the label a, whose every picture the model knows; it takes b/1.png for one, too."""
    return {"a": 0.8, "b": 0.3}[file[0]] if file != "b/1.png" else 0.6


def said(file: str) -> list[dict]:
    of_a = probability(file)
    both = [{"label": "a", "probability": of_a}, {"label": "b", "probability": round(1 - of_a, 6)}]
    return sorted(both, key=lambda each: -each["probability"])


def judged(**changes) -> record.Predictions:
    """The evaluation of this very model."""
    pictures = [
        record.JudgedPicture(file, len(data), "ab".index(file[0]), *(("ab".index(top["label"])), top["probability"]))
        for file, data in PICTURES.items()
        for top in said(file)[:1]
    ]
    return record.Predictions(**{"weights": WEIGHTS, "classes": ["a", "b"], "pictures": pictures} | changes)


@pytest.fixture(scope="module")
def deployed(new_project):
    """A project with an endpoint and a function in front of it, and the test pictures on S3."""
    project = new_project()
    table = {data: said(file) for file, data in PICTURES.items()}
    arn = project.package(project.model_archive("m", model_archive(table)))
    project.run_as("deploy_image_classifier", "deployed", provisioned_concurrency=1, reserved_concurrency=200)
    endpoint = project.perform(DeployEndpointOperator, model={"package_arn": arn, "specification": ""})
    function = project.perform(DeployFunctionOperator, endpoint=endpoint)
    uri = put(project, PICTURES)
    return SimpleNamespace(project=project, function=function, uri=uri, endpoint=endpoint, arn=arn)


def evaluated(**changes) -> dict:
    return record.Evaluation(**{"loss": 0.1, "classes": ["a", "b"]} | changes).to_json()


CAPACITY = record.Capacity(max_rps_per_instance=9, p50_ms=1, p99_ms=2)
BEFORE = record.PassedRehearsal(facts={}, run="r", package_arn="p", passed_at="2026-11-25", capacity=CAPACITY)
FULL = record.Rehearsal(stack="production", extent="full", why="Nothing serves yet.")
SHORT = record.Rehearsal(stack="rehearsal", extent="short", why="An equal one has passed.", before=BEFORE)


def check(
    deployed, run: str, predictions: record.Predictions | None, *, uri="", package="", planned=SHORT, **params
) -> dict:
    project = deployed.project
    key = project.run_as("deploy_image_classifier", run, **{"latency_limit_ms": LIMIT_MS, **params}).key
    if predictions is not None:
        record.write(project.s3, project.environment.bucket, key, predictions)
    model = {"run_key": key, "dataset_uri": uri or deployed.uri, "package_arn": package or deployed.arn}
    return project.perform(CheckParityOperator, model=model, function=deployed.function, rehearsal=planned.to_json())


def test_a_function_that_says_what_was_judged_passes(deployed):
    found = check(deployed, "same", judged())

    assert found == deployed.project.read_part("parity")
    assert (found["passed"], found["reasons"]) == (True, [])
    assert (found["stack"], found["function"]) == ("production", deployed.function["function"])
    assert (found["weights"], found["model_names"]) == ([WEIGHTS], [deployed.endpoint["config"]])
    assert found["pictures"] == 6
    load, comparison = found["load"], found["comparison"]
    assert load["sent"] == load["succeeded"] >= 100  # fewer have no 99th percentile
    assert 0 < load["p99_ms"] <= LIMIT_MS
    assert comparison["compared"] == comparison["agreed"] > load["sent"]  # and the first calls
    assert comparison["largest_difference"] == 0
    assert found["accuracy"] == comparison["judged_accuracy"] == pytest.approx(5 / 6, abs=0.02)
    # AND that is the verdict of a short rehearsal
    verdict = deployed.project.read_part("verdict")
    assert [each["passed"] for each in verdict["checks"]] == [True] * 2
    assert verdict["passed"]


def test_a_function_that_says_something_else_than_was_judged_fails_in_one_sentence(deployed):
    # GIVEN an evaluation of other weights, to which one picture was something else
    pictures = [
        each._replace(predicted=1, probability=0.9) if each.file == "a/2.png" else each for each in judged().pictures
    ]

    with pytest.raises(AirflowFailException) as caught:
        check(deployed, "other", judged(pictures=pictures, weights="fedcba9876543210"))

    sentence = str(caught.value)
    assert sentence.startswith(
        f"The function {deployed.function['function']} is not fit to serve: the weights {WEIGHTS} "
    )
    assert "answer, and fedcba9876543210 were judged; " in sentence
    assert "answers are further than 0.1 from the evaluation's: a/2.png was judged to be b with 0.900" in sentence
    assert sentence.endswith("and is a with 0.800 now.")
    part = deployed.project.read_part("parity")
    assert part["passed"] is False
    assert [each["file"] for each in part["comparison"]["differences"]] == ["a/2.png"]
    verdict = deployed.project.read_part("verdict")
    assert {each["name"]: each["passed"] for each in verdict["checks"]} == {
        rehearsal.PARITY: False, rehearsal.LATENCY: True,
    }  # fmt: skip
    assert not verdict["passed"]


def test_a_model_of_others_is_not_compared_and_slow_is_slow(deployed, monkeypatch):
    patient = OfferLimits(send_lag_p99_ms=10_000)  # how busy this machine is is not what is tested
    monkeypatch.setattr(OfferLimits, "within", classmethod(lambda cls, latency_limit_ms: patient))
    with pytest.raises(
        AirflowFailException, match=r"99 of 100 calls took up to \d+ ms, and latency_limit_ms allows 1\.$"
    ):
        check(deployed, "slow", None, latency_limit_ms=1)

    part = deployed.project.read_part("parity")
    assert part["comparison"]["not_compared"] == "the model has no predictions of its evaluation"
    assert part["accuracy"] == pytest.approx(5 / 6, abs=0.02)


def test_a_wrong_model_without_predictions_is_held_against_its_registration(deployed, monkeypatch):
    monkeypatch.setattr(parity, "REQUESTS_OF_A_P99", 12)  # its latency is not what is looked at
    # GIVEN two packages of others whose registration says how accurate they are, each in its way
    project = deployed.project
    told = project.package("s3://nowhere/m.tar.gz", CustomerMetadataProperties={"test_accuracy": "0.83"})
    uri = project.put("evaluation.json", json.dumps(evaluated(accuracy=0.995, images=2000)).encode())
    statistics = {"ContentType": "application/json", "S3Uri": uri}
    measured = project.package("s3://nowhere/m.tar.gz", ModelMetrics={"ModelQuality": {"Statistics": statistics}})

    # WHEN the first one is asked about labelled pictures THEN it is as accurate as it should be
    found = check(deployed, "told", None, package=told)
    assert (found["registered"]["right"], found["registered"]["pictures"], found["registered"]["less"]) == (5, 6, False)
    (line, _) = project.read_part("verdict")["checks"]
    assert line["passed"]
    assert line["measured"].endswith(f"; {found['registered']['why']}")

    # BUT one that takes the classes for each other is not
    others = {f"{'b' if file[0] == 'a' else 'a'}{file[1:]}": data for file, data in PICTURES.items()}
    swapped = put(project, others, "swapped")
    with pytest.raises(AirflowFailException, match=r"is told right, and the registration says 99\.5% \(99"):
        check(deployed, "measured", None, package=measured, uri=swapped)
    assert not project.read_part("verdict")["checks"][0]["passed"]


def test_an_aws_that_does_not_answer_says_nothing_of_the_function(deployed, monkeypatch):
    # GIVEN a local AWS that is restarted while it is asked: some calls are cut off, and then everything starts cold
    gone = Outcome("failed", "RemoteDisconnected", "Remote end closed connection without response", unreachable=True)
    said = [gone, gone, Outcome("throttled", "ReservedFunctionConcurrentInvocationLimitExceeded", "Rate Exceeded.")]
    asked = [(LabelledPicture("a/0.png", "a", b""), each) for each in said]
    monkeypatch.setattr(CheckParityOperator, "_ask", lambda *_: (asked, record.LoadPhase(name="parity", sent=3)))

    with pytest.raises(AirflowException) as caught:
        check(deployed, "cut off", judged())

    # THEN the next try asks again
    assert not isinstance(caught.value, AirflowFailException)
    assert str(caught.value) == (
        "AWS could not be reached by 2 of 3 calls (RemoteDisconnected: Remote end closed connection without response): "
        f"nothing is known of {deployed.function['function']}."
    )


@pytest.mark.parametrize("kind", [CheckParityOperator, MeasureCapacityOperator])
def test_an_endpoint_that_is_not_back_yet_is_waited_for(deployed, monkeypatch, kind):
    # GIVEN an endpoint that a restart has left without instances for a while
    states, real = [], ServingHook.describe_endpoint

    def describe(hook, name):
        found = {**real(hook, name), **({"EndpointStatus": "SystemUpdating"} if len(states) < 2 else {})}
        states.append(found["EndpointStatus"])
        return found

    monkeypatch.setattr(ServingHook, "describe_endpoint", describe)

    def asked(*_, **__):
        raise RuntimeError("asked")

    monkeypatch.setattr(CheckParityOperator, "_ask", asked)
    monkeypatch.setattr(load_test.capacity, "measure", asked)
    project, given = deployed.project, {"model": {"run_key": "r", "dataset_uri": deployed.uri}}
    given |= {"function": deployed.function} if kind is CheckParityOperator else {"endpoint": deployed.endpoint}

    # WHEN it is to be asked THEN that is not before it serves
    with pytest.raises(RuntimeError, match="asked"):
        project.perform(kind, rehearsal=SHORT.replace(before=None).to_json(), **given)
    assert states[-1] == "InService"
    assert states.count("SystemUpdating") == 2


def test_a_picture_that_the_function_fails_at_is_a_reason(deployed):
    project = deployed.project
    more = put(project, {**PICTURES, "a/new.png": picture(50)}, "more")

    with pytest.raises(AirflowFailException, match=r"of \d+ calls failed \(function answered 502: .*ModelError"):
        check(deployed, "failing", judged(), uri=more)

    comparison = project.read_part("parity")["comparison"]
    assert comparison["agreed"] == comparison["compared"] > 0


def test_where_a_load_test_follows_latency_fails_nothing(deployed):
    found = check(deployed, "load-test-follows", judged(), planned=FULL, latency_limit_ms=1)
    assert (found["passed"], found["reasons"]) == (True, [])
    assert found["load"]["p99_ms"] > 1
    # AND the verdict is left to that
    with pytest.raises(deployed.project.s3.exceptions.NoSuchKey):
        deployed.project.read_part("verdict")
