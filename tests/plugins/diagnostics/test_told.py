"""What a job's log says of its rules, and whose log it is."""

import pytest
from musher.diagnostics.told import announced, to_be_told
from musher.hooks.sagemaker_jobs import TRAINING, TUNING
from musher.hooks.training_logs import job_of

LINE = (
    "DiagnosticRule WeightUpdateRatio: IssuesFound step=1 value=62.1 threshold=10: a step changed head.0.weight by "
    "62.1 times its size: lower the learning rate"
)


def test_an_issue_is_read_from_the_line_that_tells_of_it():
    issue = announced("a-job", f"[1,mpirank:0,algo-1]{LINE}\n")

    assert (issue.job, issue.rule, issue.step, issue.value, issue.threshold) == (
        "a-job", "WeightUpdateRatio", "1", "62.1", "10",
    )  # fmt: skip
    assert issue.text.startswith(
        "a step changed head.0.weight by 62.1 times its size: lower the learning rate\n\nStep 1"
    )
    assert announced("a-job", "DiagnosticRule AllZero: all gradients are 0 (step 3)") is None
    assert announced("a-job", "epoch=1 train_loss=0.5") is None


def test_without_memory_there_is_nothing_to_be_told_while_the_job_runs():
    on_issue = {"Overfit": "notify", "OutOfMemory": "notify", "AllZero": "stop", "Confusion": "notify"}
    assert to_be_told(on_issue) == ["Confusion", "Overfit"]


@pytest.mark.parametrize(
    ("kind", "stream", "job"),
    [
        (TRAINING, "p-train-1/algo-1-1764580000", "p-train-1"),
        (TRAINING, "p-train-1-2/algo-1-1764580000", None),
        (TUNING, "p-train-1-001-0a1b2c3d/algo-1-1764580000", "p-train-1-001-0a1b2c3d"),
        (TUNING, "p-train-1-2-001-0a1b2c3d/algo-1-1764580000", None),  # a trial of the second attempt
        (TUNING, "p-train-1/algo-1-1764580000", None),
    ],
)
def test_a_log_is_a_jobs_own(kind, stream, job):
    assert job_of(kind, "p-train-1", stream) == job
