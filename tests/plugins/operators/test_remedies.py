"""What becomes of a training that a rule has ended: another job with a remedy, or a failed task that says why."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from musher import record
from musher.diagnostics.told import UNKNOWN, Told
from musher.operators.training_jobs import TrainOperator
from musher.operators.tuning import TuneOperator

from tests.local_aws.daemon import wait_for
from tests.local_aws.event_rules import queue, received
from tests.plugins.operators.listening import Listener
from tests.plugins.triggering import event_of

# A train.py whose rule fires above a learning rate of 0.05, as ml_scripts' would, and fails or ends it there. At 0.02
# another one says that it has found something, and the training goes on until there is the file of which it is told.
SCRIPT = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
for name in ("--lr", "--epochs", "--rules"):
    parser.add_argument(name)
told = parser.parse_known_args()[0]
output = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
fires = float(told.lr) > 0.05 and "WeightUpdateRatio:stop" in told.rules
ends = float(told.lr) > 0.05 and "WeightUpdateRatio:end" in told.rules
rules = [
    {"rule": "Confusion", "status": "IssuesFound", "status_details": "a was taken for b", "action": "report",
     "issue": {"step": 20, "value": 0.3, "threshold": 0.5}},
    {"rule": "WeightUpdateRatio", "status": "IssuesFound" if fires or ends else "NoIssuesFound",
     "action": "stop", "issue": {"step": 1, "value": None, "threshold": 10.0} if fires or ends else None},
]
losses = {"train_loss": 0.5, "valid_loss": 0.4, "valid_accuracy": 0.9}
if float(told.lr) == 0.02:
    line = "step=20 value=0.3 threshold=0.5: a was taken for b: look at the labels"
    print("DiagnosticRule Confusion: IssuesFound", line, flush=True)
    until = time.monotonic() + 120
    while not os.path.exists("GOES_ON") and time.monotonic() < until:
        time.sleep(0.05)
epochs = [{"epoch": n, "seconds": 2.0, **losses} for n in range(1, 3 if fires or ends else 11)]
steps = [{"step": 1, "epoch": 1, "loss": 0.7, "gradient_mean": 0.1, "update_ratio": 62.1}]
written = {"rules": rules, "planned_epochs": 10, "steps_per_epoch": 4, "epochs": epochs,
           "ended_by": "WeightUpdateRatio" if ends else None,
           "steps": steps, "trained": "head", "inputs": None}
(output / "diagnostics.json").write_text(json.dumps(written))
print("train_loss=0.5 best_valid_loss=0.4 valid_accuracy=0.9 test_loss=0.4 test_accuracy=0.9", flush=True)
others = [rule for rule in ("LeakedValidation", "AllZero") if rule in told.rules]
if fires or others:
    rule = "WeightUpdateRatio" if fires else others[0]
    (output.parent / "failure").write_text(f"DiagnosticRule {rule}: something is wrong: mend it (step 1)")
    sys.exit(1)
pathlib.Path(os.environ["SM_MODEL_DIR"], "weights").write_text(told.lr)
"""
STOPPED = "DiagnosticRule WeightUpdateRatio: something is wrong: mend it (step 1)"


@pytest.fixture(scope="module")
def goes_on(tmp_path_factory):
    """The file without which the script does not come to its end at a learning rate of 0.02."""
    return tmp_path_factory.mktemp("goes-on") / "file"


@pytest.fixture(scope="module")
def staged(new_project, goes_on):
    """A project with the script and a picture."""
    project = new_project()
    buffer, script = io.BytesIO(), SCRIPT.replace("GOES_ON", str(goes_on)).encode()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("train.py")
        info.size = len(script)
        tar.addfile(info, io.BytesIO(script))
    project.put("code/sourcedir.tar.gz", gzip.compress(buffer.getvalue()))
    for channel in ("data/train", "data/valid", "data/test", "pretrained"):
        project.put(f"{channel}/a/1.jpg", b"a picture")
    return project


def inputs(project) -> dict:
    base = f"s3://{project.environment.bucket}/{project.name}"
    return {"dataset": f"{base}/data/", "code": f"{base}/code/", "pretrained": f"{base}/pretrained/"}


def train(project, lr: str):
    return project.perform(TrainOperator, **of_train(project, lr))


def of_train(project, lr: str) -> dict:
    """What a TrainOperator is told."""
    best = {"job": "a-trial", "hyperparameters": {"lr": lr, "batch-size": "32"}, "objective": 0.4}
    trial = {**best, "status": "Completed", "seconds": 360.0}
    tuning = record.Tuning(job="t", strategy="Random", instance_type="ml.m5.xlarge", trials=[trial], best=best)
    return {"inputs": inputs(project), "tuning": tuning.to_json(), "several": False}


def diagnosed(project) -> list[dict]:
    return project.read_part("diagnostics")["jobs"]


def outcomes(job: dict) -> dict[str, dict]:
    return {each["rule"]: each for each in job["rules"]}


def test_a_job_that_a_rule_has_ended_is_run_again_with_the_remedy(staged):
    # GIVEN a learning rate that is two remedies away from one that is fine, and a topic
    listener = Listener(staged)
    staged.run_as(
        "train_image_classifier", "heals", on_issue={"WeightUpdateRatio": "retry", "Confusion": "notify"}, epochs=10
    )

    part = train(staged, lr="1")

    # THEN the third job completes, each with a tenth of the rate of the one before
    base = part["job"].removesuffix("-3")
    jobs = diagnosed(staged)
    assert [each["job"] for each in jobs] == [base, f"{base}-2", f"{base}-3"]
    rates = [
        staged.sagemaker.describe_training_job(TrainingJobName=each["job"])["HyperParameters"]["lr"] for each in jobs
    ]
    assert [float(json.loads(rate)) for rate in rates] == [1, 0.1, 0.01]
    assert [each["status"] for each in jobs] == ["Failed", "Failed", "Completed"]
    assert [each["fired"] for each in jobs] == ["WeightUpdateRatio", "WeightUpdateRatio", None]

    # AND each attempt says why it is another one, and what the rule saved
    assert jobs[0]["remedy"] is None
    assert jobs[1]["remedy"] == {"rule": "WeightUpdateRatio", "changed": {"lr": ["1", "0.1"]}, "sentence": STOPPED}
    assert jobs[0]["saved"]["seconds"] == 16.0
    assert jobs[0]["saved"]["usd"] > 0
    assert jobs[0]["saved"]["basis"].startswith("8 of 10 epochs were not trained")
    assert jobs[2]["saved"] is None
    ratio = outcomes(jobs[0])["WeightUpdateRatio"]
    assert (ratio["step"], ratio["value"], ratio["threshold"]) == (1, None, 10.0)
    assert ratio["taken"] == "the job was stopped; it was run again with lr 0.1 instead of 1"
    assert all(each["billable_seconds"] > 0 and each["cost_usd"] > 0 for each in jobs)

    # AND the topic was told of the issue that it is to be told of, once
    (told,) = listener.messages()
    assert told["Subject"] == f"{staged.name}: Confusion found something in {base}-3"
    assert "a was taken for b" in told["Message"]
    assert outcomes(jobs[2])["Confusion"]["taken"] == "the topic was told"

    # WHEN the task is cleared, THEN it takes the result, and starts nothing
    assert train(staged, lr="1")["job"] == part["job"]
    assert diagnosed(staged) == jobs
    assert listener.messages() == []


def test_the_topic_is_told_while_the_job_runs_and_once_whoever_waits_for_it(staged, goes_on):
    # GIVEN a job whose rule has found something, and which goes on
    listener = Listener(staged)
    staged.run_as("train_image_classifier", "tells", on_issue={"Confusion": "notify"})
    values = of_train(staged, lr="0.02")

    def step(deferred=None):
        """One step of the task, in an operator of its own; the next wait."""
        operator, step = staged.task(TrainOperator, **values), "execute"
        more = {}
        if deferred is not None:
            step, more = "resume", {"event": event_of(deferred.trigger, time.monotonic() + 120), **deferred.kwargs}
        with pytest.raises(TaskDeferred) as waits:
            getattr(operator, step)(staged.context, **more)
        return waits.value

    # WHEN the task waits for it
    waits = step(step())

    # THEN the topic is told, and the task waits on for what it has not been told of
    (told,) = listener.messages()
    job = waits.trigger.name
    assert told["Subject"] == f"{staged.name}: Confusion found something in {job}"
    assert "a was taken for b: look at the labels\n\nStep 20, value 0.3, threshold 0.5." in told["Message"]
    assert staged.sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "InProgress"
    assert waits.trigger.rules == []

    # WHEN the task is cleared, and its next try comes upon the same line
    waits = step(step())
    goes_on.touch()
    event = event_of(waits.trigger, time.monotonic() + 120)
    part = staged.task(TrainOperator, **values).resume(staged.context, event=event, **waits.kwargs)

    # THEN nobody is told again, nor when the job has ended, and the record says when it was
    assert part["job"] == job
    assert listener.messages() == []
    (diagnosis,) = diagnosed(staged)
    assert outcomes(diagnosis)["Confusion"]["taken"] == "the topic was told while the job ran"


def test_of_many_workers_one_tells_and_a_topic_that_failed_is_tried_again(staged):
    bucket, telling = staged.environment.bucket, threading.Barrier(8)
    calls = []

    def tell(answer=""):
        calls.append(answer)
        return answer

    def worker(_):
        telling.wait(30)
        return Told(staged.s3, bucket, "a-run").once("a-job", "Confusion", tell, "told")

    with ThreadPoolExecutor(8) as pool:
        became = set(pool.map(worker, range(8)))
    assert calls == [""]
    assert became <= {"told", UNKNOWN}
    assert Told(staged.s3, bucket, "a-run").once("a-job", "Confusion", tell, "told") == "told"

    known = Told(staged.s3, bucket, "a-run")
    assert known.once("a-job", "AllZero", lambda: tell("no answer"), "told") == "no answer"
    assert known.once("a-job", "AllZero", tell, "told") == "told"
    assert calls == ["", "no answer", ""]

    # A worker that ends in the middle of it may have told the topic: that is not done again.
    with pytest.raises(KeyboardInterrupt):
        known.once("a-job", "Overfit", mock.Mock(side_effect=KeyboardInterrupt), "told")
    assert Told(staged.s3, bucket, "a-run").once("a-job", "Overfit", tell, "told") == UNKNOWN
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("told", "jobs", "sentence"),
    [
        ({"on_issue": {"WeightUpdateRatio": "stop"}}, 1, STOPPED),
        (
            {"on_issue": {"WeightUpdateRatio": "retry"}, "max_remedies": 1},
            2,
            f"{STOPPED}. max_remedies is 1, and 1 were tried.",
        ),
        (
            {"on_issue": {"WeightUpdateRatio": "retry"}, "max_cost_usd": 0.01},
            1,
            f"{STOPPED}. No remedy was tried: another job is expected to cost ",
        ),
        (
            {"on_issue": {"AllZero": "retry"}},
            2,
            f"{STOPPED.replace('WeightUpdateRatio', 'AllZero')}. A remedy has changed nothing (seed 1 instead of 0), "
            "and is not tried again: what AllZero finds comes of the code or of the data, and is to be mended there.",
        ),
        ({"on_issue": {"LeakedValidation": "stop"}}, 1, STOPPED.replace("WeightUpdateRatio", "LeakedValidation")),
    ],
)
def test_a_job_that_is_not_run_again_fails_the_task_with_the_rules_sentence(staged, told, jobs, sentence):
    staged.run_as("train_image_classifier", f"stops-{jobs}-{len(sentence)}", **told)

    with pytest.raises(AirflowFailException) as failed:
        train(staged, lr="10")

    assert str(failed.value).startswith(sentence)
    assert sentence[-1] == " " or str(failed.value) == sentence
    assert len(diagnosed(staged)) == jobs


def test_a_tuning_job_whose_trials_a_rule_has_failed_says_so(staged):
    listener = Listener(staged)
    on_issue = {"LeakedValidation": "stop", "Confusion": "notify"}
    staged.run_as("train_image_classifier", "tunes", on_issue=on_issue, max_jobs=2, max_parallel_jobs=2)

    with pytest.raises(AirflowFailException) as failed:
        staged.perform(TuneOperator, inputs=inputs(staged))

    assert str(failed.value) == STOPPED.replace("WeightUpdateRatio", "LeakedValidation")
    for trial in (trials := diagnosed(staged)):
        assert (trial["step"], trial["fired"], trial["steps"]) == ("tune", "LeakedValidation", [])
    # Of what both trials have found the topic is told once.
    assert [outcomes(each)["Confusion"]["taken"] for each in trials] == ["the topic was told"] * 2
    assert len(listener.messages()) == 1


def test_trials_that_a_rule_has_ended_complete_with_the_best_objective_they_had(staged):
    rates = {"learning_rate_min": 0.06, "learning_rate_max": 0.1}
    on_issue = {"WeightUpdateRatio": "stop"}
    staged.run_as("train_image_classifier", "ends", on_issue=on_issue, max_jobs=2, max_parallel_jobs=2, **rates)

    tuned = staged.perform(TuneOperator, inputs=inputs(staged))

    assert [(each["status"], each["objective"]) for each in tuned["trials"]] == [("Completed", 0.4)] * 2
    assert tuned["best"]["objective"] == 0.4
    for trial in diagnosed(staged):
        assert (trial["step"], trial["status"], trial["fired"]) == ("tune", "Completed", "WeightUpdateRatio")
        assert trial["saved"]["basis"].startswith("8 of ")
        taken = outcomes(trial)["WeightUpdateRatio"]["taken"]
        assert taken == "the training was ended after 2 epochs, and its best one kept"


def test_what_is_not_airflow_is_told_too(staged):
    # GIVEN the stack's rule, for this project's jobs
    events = staged.daemon.client("events")
    pattern = json.loads(events.describe_rule(Name="musher-rule-fired")["EventPattern"])
    pattern["detail"]["Tags"]["project"] = [staged.name]
    url, arn = queue(staged.daemon, f"{staged.name}-events")
    events.put_rule(Name=f"{staged.name}-rule-fired", EventPattern=json.dumps(pattern))
    transformer = events.list_targets_by_rule(Rule="musher-rule-fired")["Targets"][0]["InputTransformer"]
    target = {"Id": "queue", "Arn": arn, "InputTransformer": transformer}
    events.put_targets(Rule=f"{staged.name}-rule-fired", Targets=[target])

    # WHEN a rule ends a job
    staged.run_as("train_image_classifier", "told", on_issue={"WeightUpdateRatio": "stop"})
    with pytest.raises(AirflowFailException):
        train(staged, lr="10")

    # THEN EventBridge says so, too
    (job,) = diagnosed(staged)
    bodies = []
    wait_for(lambda: bodies.extend(received(staged.daemon.client("sqs"), url)) or bodies, 30, "nothing was told")
    assert [json.loads(body) for body in bodies] == [
        f"The training job {job['job']} has failed: AlgorithmError: {STOPPED}, exit code: 1"
    ]
