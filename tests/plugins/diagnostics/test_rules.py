"""The rules of the training scripts as a run knows them, and the remedies."""

import ast
from pathlib import Path

import pytest
from musher.diagnostics import parameters, remedies, rules
from musher.diagnostics.rules import OUT_OF_MEMORY, RULES, allowed

ROOT = Path(__file__).resolve().parents[3]
RATE = "DiagnosticRule WeightUpdateRatio: a step changed head.0.weight by 62.1 times its size: lower lr (step 1)"
SEED = "DiagnosticRule AllZero: all gradients are 0: another seed (step 3)"
LATER = SEED.replace("step 3", "step 10")
DEAD = "DiagnosticRule DeadRelu: 98.9 % of the units of act2 are dead: lower the learning rate (step 10)"
MEMORY = "DiagnosticRule OutOfMemory: 64 of the 64 pictures of a batch at once are too many"
VALUES = {"lr": "1", "batch-size": "64", "seed": "7", "epochs": "10"}
ON_ISSUE = {
    "WeightUpdateRatio": "retry",
    "AllZero": "retry",
    "DeadRelu": "retry",
    "OutOfMemory": "retry",
    "ClassImbalance": "stop",
}


def ended(*reasons, status="Failed"):
    return [
        {"TrainingJobName": f"job-{number}", "TrainingJobStatus": status, "FailureReason": f"AlgorithmError: {reason}"}
        for number, reason in enumerate(reasons, 1)
    ]


def declared(folder: str, decorator: str) -> dict[str, dict[str, str]]:
    """Rule to parameter to kind, as the files of a folder of ml_scripts declare them; read, since torch is not here."""
    found = {}
    for path in (ROOT / "ml_scripts" / folder).glob("*.py"):
        tree = ast.parse(path.read_text())
        named = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
        calls = [
            each for node in tree.body for each in getattr(node, "decorator_list", ()) if isinstance(each, ast.Call)
        ]
        for call in (each for each in calls if each.func.id == decorator):
            name = ast.literal_eval(named.get(getattr(call.args[0], "id", None), call.args[0]))
            given = {each.arg: each.value for each in call.keywords if each.arg not in ("advice", "here", "of_aws")}
            found[name] = {key: KINDS[type(ast.literal_eval(value))] for key, value in given.items()}
    return found


KINDS = {bool: parameters.TRUTH, int: parameters.WHOLE, float: parameters.NUMBER}


def test_the_rules_and_their_parameters_are_those_of_the_training_scripts():
    assert declared("diagnostics/rules", "rule") == parameters.OF_RULES
    assert declared("profiling/rules", "profiler_rule") == parameters.OF_PROFILER
    assert set(parameters.OF_RULES) == set(RULES) - {OUT_OF_MEMORY}


def test_what_is_about_the_data_has_no_remedy():
    for rule in ("CheckInputImages", "ClassImbalance", "Confusion", "LeakedValidation"):
        assert allowed(rule) == ("report", "stop", "notify")


@pytest.mark.parametrize(
    ("reason", "rule", "sentence"),
    [
        (RATE, "WeightUpdateRatio", RATE),
        (f"AlgorithmError: {RATE}, exit code: 1", "WeightUpdateRatio", RATE),
        (
            "AlgorithmError: Please use an instance type with more memory, or reduce the size of training data",
            "OutOfMemory",
            None,
        ),
        ("AlgorithmError: the training process ended with SIGKILL: epoch=1", "OutOfMemory", None),
        ("InternalServerError: We encountered an internal error. Please try again.", None, None),
        ("AlgorithmError: --lr is 'DiagnosticRules'", None, None),
        (None, None, None),
    ],
)
def test_the_rule_that_ended_a_job_is_read_from_its_reason(reason, rule, sentence):
    found = remedies.fired(reason)

    assert (found and found.rule) == rule
    if sentence:
        assert (found.sentence, found.step) == (sentence, 1)


def test_each_attempt_changes_what_its_own_rule_asks_for():
    course = remedies.course(VALUES, ended(SEED, RATE, MEMORY), ON_ISSUE, max_remedies=3, instances=2)

    assert course.values == {**VALUES, "lr": "0.1", "seed": "8", "accumulation": "2"}
    assert list(course.remedies) == ["job-1", "job-2", "job-3"]
    assert course.remedies["job-2"].changed == {"lr": ("1", "0.1")}
    assert course.remedies["job-3"].changed == {"accumulation": ("1", "2")}
    assert remedies.words(course.remedies["job-2"]) == "lr 0.1 instead of 1"


def test_weights_that_look_bad_under_a_rate_that_was_too_high_are_its_doing():
    # A learning rate a thousand times too high kills a head's ReLUs at a tenth of it as well.
    assert remedies.course(VALUES, ended(RATE, SEED), ON_ISSUE, 2, 1).values == {**VALUES, "lr": "0.01"}
    assert remedies.course(VALUES, ended(SEED, LATER), ON_ISSUE, 2, 1).values == {**VALUES, "seed": "9"}
    # At a hundredth a whole network's are dead still, and nothing else that has a remedy says so.
    assert remedies.course(VALUES, ended(RATE, SEED, DEAD), ON_ISSUE, 3, 1).values == {**VALUES, "lr": "0.001"}


@pytest.mark.parametrize(
    ("reasons", "told", "tried"),
    [
        # Weights that code sets to zero: from another seed they are zero as well.
        ((SEED, SEED), {**VALUES, "seed": "8"}, "seed 8 instead of 7"),
        (
            (RATE, DEAD.replace("step 10", "step 1"), DEAD.replace("step 10", "step 1")),
            {**VALUES, "lr": "0.01"},
            "lr 0.01 instead of 0.1",
        ),
    ],
)
def test_a_remedy_that_has_changed_nothing_is_not_tried_again(reasons, told, tried):
    course = remedies.course(VALUES, ended(*reasons), ON_ISSUE, 10, 1)

    assert course.values == told
    assert f"job-{len(reasons)}" not in course.remedies
    why = remedies.why_no_more(course, 10)
    assert why.startswith(f"A remedy has changed nothing ({tried}), and is not tried again: what ")
    assert why.endswith(" finds comes of the code or of the data, and is to be mended there.")


@pytest.mark.parametrize("reasons", [(SEED, LATER), (RATE, RATE), (RATE, DEAD, DEAD), (SEED, RATE, SEED)])
def test_a_remedy_that_may_yet_help_is_tried_again(reasons):
    course = remedies.course(VALUES, ended(*reasons), ON_ISSUE, 10, 1)

    assert list(course.remedies) == [f"job-{number}" for number in range(1, len(reasons) + 1)]
    assert course.in_vain is None


def test_no_more_remedies_than_allowed_and_none_that_nobody_asked_for():
    assert remedies.course(VALUES, ended(RATE, RATE, RATE), ON_ISSUE, 2, 1).values["lr"] == "0.01"
    assert remedies.course(VALUES, ended(RATE), ON_ISSUE, 0, 1).values == VALUES
    assert remedies.course(VALUES, ended(RATE), {"WeightUpdateRatio": "stop"}, 2, 1).values == VALUES
    # A job that failed for another reason, or that a person stopped, is repeated as it was.
    assert remedies.course(VALUES, ended(RATE, "InternalServerError"), ON_ISSUE, 2, 1).values["lr"] == "0.1"
    assert remedies.course(VALUES, ended(RATE, status="Stopped"), ON_ISSUE, 2, 1).values == VALUES


def test_a_batch_cannot_be_in_more_parts_than_it_has_pictures():
    values = {"batch-size": "8", "accumulation": "4"}
    assert rules.changes("OutOfMemory", values, 1) == {"accumulation": "8"}
    assert rules.changes("OutOfMemory", values, 2) is None
    assert rules.changes("Overtraining", values, 1) is None
    assert rules.changes("MyOwnRule", values, 1) is None
