"""Each rule on recorded statistics: what it fires on, what it leaves alone, and where it cannot be applied."""

import math
import re
from array import array
from pathlib import Path

import pytest
from diagnostics import rule as rule_module
from diagnostics.rule import NotApplicable, known_rules
from diagnostics.statistics import Activation, Inputs, Parameter, Sample, Statistics

RULES = known_rules()
DOWN = array("d", [1 / step for step in range(1, 101)])


def parameter(**changes) -> Parameter:
    """A tensor as a healthy step leaves it."""
    healthy = {
        "name": "head.0.weight",
        "gradient_mean": 1e-3,
        "weight_mean": 0.02,
        "numbers": 1000,
        "gradient_zeros": 10,
        "weight_zeros": 0,
        "weight_norm": 1.0,
        "update_norm": 0.01,
        "changed": 900,
        "spread": 0.01,
    }
    return Parameter(**{**healthy, **changes})


def activation(dead: int = 0, kind: str = "ReLU", variance: float = 1.0, name: str = "head.1") -> Activation:
    """A layer of a hundred units, of which ``dead`` are active for no input and the others for half of them."""
    activity = [0] * 101
    activity[0], activity[50] = dead, 100 - dead
    return Activation(name, kind, 32, variance, activity)


def sample(step: int, loss: float = 1.0, activations=None, **changes) -> Sample:
    return Sample(step, 1, loss, [parameter(**changes)], [activation()] if activations is None else activations)


def epochs(train: list[float], valid: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": number, "train_loss": one, "valid_loss": other}
        for number, (one, other) in enumerate(zip(train, valid, strict=True), 1)
    ]


def statistics(**changes) -> Statistics:
    """A healthy training of three classes, ten epochs of ten steps."""
    train = [1.1 * 0.6**epoch for epoch in range(10)]
    healthy = {
        "trained": "head",
        "classes": ["a", "b", "c"],
        "labels": [100, 100, 100],
        "batch_size": 30,
        "planned_epochs": 10,
        "steps_per_epoch": 10,
        "losses": array("d", [loss for loss in train for _ in range(10)]),
        "epochs": epochs(train, [loss + 0.02 for loss in train]),
        "samples": [sample(1, 1.1), sample(3), sample(10, 0.9), sample(50, 0.2)],
        "confusion": [[19, 1, 0], [1, 18, 1], [0, 0, 20]],
        "inputs": Inputs(600, [0.1, 0.0, -0.1], [1.0, 1.0, 0.9], [-2.0, -2.0, -1.8], [2.2, 2.4, 2.6]),
        "leaked": [],
        "finished": True,
    }
    return Statistics(**{**healthy, **changes})


def found(name: str, seen: Statistics, **parameters):
    return RULES[name].check(seen, **{**RULES[name].defaults, **parameters})


@pytest.mark.parametrize("name", sorted(set(RULES) - {"SaturatedActivation", "Overtraining"}))
def test_a_healthy_training_has_no_issue(name):
    assert found(name, statistics()) is None


BROKEN = {
    "VanishingGradient": (
        {"samples": [sample(1), sample(3, gradient_mean=3e-9)]},
        (3, 3e-9, 1e-7),
        "the mean of the absolute values of the gradient of head.0.weight is 3e-09, below 1e-07",
    ),
    "ExplodingTensor": (
        {"losses": array("d", [1.0, 2.0, math.nan])},
        (3, math.nan, 0.0),
        "the loss is no longer finite: nan",
    ),
    "WeightUpdateRatio": (
        {"samples": [sample(1, update_norm=62.0)]},
        (1, 62.0, 10.0),
        "a step changed head.0.weight by 62 times its own size, above 10",
    ),
    "AllZero": (
        {"samples": [sample(1, gradient_zeros=1000, gradient_mean=0.0)]},
        (1, 100.0, 100.0),
        "100 % of the gradient of head.0.weight is zero",
    ),
    "UnchangedTensor": (
        {"samples": [sample(1), *(sample(step, changed=0) for step in (3, 10, 50))]},
        (50, 3, 3),
        "head.0.weight did not change in 3 recorded steps",
    ),
    "DeadRelu": (
        {"samples": [sample(1), sample(3, activations=[activation(dead=95)])]},
        (3, 95.0, 90.0),
        "95 % of the ReLUs of head.1 are active for less than 1 % of 32 inputs, more than 90 %",
    ),
    "SaturatedActivation": (
        {"samples": [sample(1, activations=[activation(dead=60, kind="tanh")])]},
        (1, 60.0, 50.0),
        "60 % of the tanh units of head.1 are saturated, more than 50 %",
    ),
    "PoorWeightInitialization": (
        {"samples": [sample(1, spread=0.0, activations=[activation(variance=0.0)])]},
        (1, math.inf, 1000.0),
        "the variances of activations differ by inf times and 90 % of the gradient of head.0.weight lie within 0",
    ),
    "LossNotDecreasing": (
        {"losses": array("d", [1.2] * 10 + [1.1] * 20)},
        (30, 0.0, 0.1),
        "the loss decreased by 0 % over 10 steps, from 1.1 to 1.1, less than 0.1 %",
    ),
    "Overfit": (
        {"epochs": epochs([1.0, 0.5, 0.2, 0.1], [1.0, 1.0, 1.1, 1.2])},
        (40, (1.2 - 0.1) / math.log(3), 0.5),
        "in epoch 4 the validation loss, 1.2, is above the training loss, 0.1, by 1 times the loss of guessing",
    ),
    "Overtraining": (
        {"epochs": epochs([1.0, 0.5] + [0.01] * 12, [1.0, 0.6, 0.3] + [0.31] * 11)},
        (130, 10, 10),
        "the validation loss has not improved by 0.01 since epoch 3, for 10 epochs, and the training loss for 10",
    ),
    "ClassImbalance": (
        {"labels": [100, 9, 50]},
        (0, 100 / 9, 10.0),
        "class a has 100 training pictures and b has 9, more than 10 times as many",
    ),
    "Confusion": (
        {"confusion": [[5, 7, 8], [7, 6, 7], [8, 6, 6]]},
        (100, 17 / 60, 0.5),
        "17 of 60 validation pictures are told right, less than 0.5 of them",
    ),
    "CheckInputImages": (
        {"inputs": Inputs(600, [0.4] * 3, [0.25] * 3, [0.0] * 3, [1.0] * 3)},
        (100, 0.0, 0.0),
        "no number of red over 600 input pictures is below 0, they end at 0",
    ),
    "StalledTrainingRule": ({"idle_seconds": 1900.0}, (100, 1900.0, 1800.0), "no batch was finished for 1900 s"),
    "LeakedValidation": (
        {"leaked": ["valid/a/1.jpg"]},
        (0, 1, 0),
        "1 validation pictures are training pictures, too, such as valid/a/1.jpg",
    ),
    "LargeBatch": (
        {"steps_per_epoch": 1, "batch_size": 300, "epochs": epochs([1.1, 1.0, 0.9], [1.0] * 3)},
        (3, 1, 4),
        "a batch of 300 leaves 1 step an epoch, less than 4, and the last epoch still lowered the training loss by",
    ),
}


def test_every_rule_is_tested():
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_is_found(name):
    changes, (step, value, threshold), sentence = BROKEN[name]

    issue = found(name, statistics(**changes))

    assert (issue.step, issue.threshold) == (step, threshold)
    assert issue.value == pytest.approx(value, nan_ok=True)
    assert issue.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("VanishingGradient", {"samples": []}, "no step was recorded"),
        ("DeadRelu", {"samples": [sample(1, activations=[])]}, "the head, which alone is trained, has no ReLU"),
        ("SaturatedActivation", {"trained": "all"}, "the network has no tanh and no sigmoid"),
        ("UnchangedTensor", {"samples": [sample(1)]}, "^1 step was recorded, and 3 are compared"),
        ("PoorWeightInitialization", {"first_step": 41}, "the training went on from a checkpoint"),
        ("LossNotDecreasing", {"losses": array("d", [1.0] * 15)}, "15 steps were taken, and 20 are needed"),
        ("Overfit", {"epochs": []}, "no epoch was finished"),
        ("Overtraining", {}, "^10 epochs were finished, and 11 are needed"),
        ("Overtraining", {"epochs": epochs([1.0], [1.0])}, "^1 epoch was finished, and 11 are needed"),
        ("LossNotDecreasing", {"losses": array("d", [1.0])}, "^1 step was taken, and 20 are needed"),
        ("Confusion", {"finished": False}, "the training has not reached its end"),
        ("CheckInputImages", {"inputs": Inputs(0, [], [], [], [])}, "no picture was read: the features of all"),
        ("LeakedValidation", {"leaked": None}, "the files were not compared"),
        ("LargeBatch", {"finished": False}, "the training has not reached its end"),
    ],
)
def test_a_rule_that_cannot_be_applied_says_why(name, changes, why):
    with pytest.raises(NotApplicable, match=why):
        found(name, statistics(**changes))


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        # A training that has learnt everything: its gradient vanishes, its loss stands still.
        ("VanishingGradient", {"samples": [sample(90, 0.001, gradient_mean=1e-9)]}, {}),
        ("LossNotDecreasing", {"losses": array("d", [1.0] * 10 + [0.1] * 50)}, {}),
        # Infinite, and only NaN is looked for.
        ("ExplodingTensor", {"losses": array("d", [1.0, math.inf])}, {"only_nan": True}),
        # Two signs are asked for: one is an unlucky batch, or a pretrained network.
        (
            "PoorWeightInitialization",
            {"losses": DOWN, "samples": [sample(1, activations=[activation(variance=0.0)])]},
            {},
        ),
        # Two wrong of five say little.
        ("Confusion", {"confusion": [[2, 3, 0], [0, 5, 0], [0, 0, 5]]}, {}),
        ("ClassImbalance", {"confusion": [[1, 4, 0], [0, 5, 0], [0, 0, 5]]}, {}),
        # Far from 0, and rightly: dark pictures.
        ("CheckInputImages", {"inputs": Inputs(9, [-1.5] * 3, [0.3] * 3, [-2.0] * 3, [0.5] * 3)}, {}),
        # An epoch above it, then below again.
        ("Overfit", {"epochs": epochs([0.5, 0.4, 0.3, 0.2], [0.5, 1.1, 0.5, 1.1])}, {}),
        # A large batch of an easy data set, which was learnt all the same.
        ("LargeBatch", {"steps_per_epoch": 1, "epochs": epochs([0.5, 0.06, 0.05], [0.1] * 3)}, {}),
    ],
)
def test_what_is_no_issue_is_left_alone(name, changes, parameters):
    assert found(name, statistics(**changes), **parameters) is None


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("VanishingGradient", {"samples": [sample(90, 0.001, gradient_mean=1e-9)]}),
        ("DeadRelu", {"samples": [sample(1, activations=[activation(dead=51)])]}),
        ("LossNotDecreasing", {"losses": array("d", [0.01] * 20)}),
        ("Overfit", {"epochs": epochs([0.1], [0.12])}),
        ("PoorWeightInitialization", {"losses": DOWN, "samples": [sample(1, spread=0.0009)]}),
        ("Confusion", {"confusion": [[8, 2, 0], [0, 9, 1], [0, 0, 9]]}),
        ("CheckInputImages", {"inputs": Inputs(600, [0.21, 0, 0], [1.0] * 3, [-2.0] * 3, [2.0] * 3)}),
    ],
)
def test_aws_defaults_are_stricter(name, changes):
    assert RULES[name].check(statistics(**changes), **RULES[name].defaults) is None
    assert RULES[name].check(statistics(**changes), **RULES[name].aws) is not None


PAGE = (Path(__file__).parents[2] / "docs/diagnostics.md").read_text()


def test_the_page_has_every_rule_with_its_parameters():
    def text(value) -> str:
        return str(value).lower() if isinstance(value, bool) else f"{value:g}"

    expected = {}
    for name, rule in RULES.items():
        aws = {parameter: f" (AWS: {text(rule.aws[parameter])})" for parameter in rule.here}
        cells = [f"`{parameter}` {text(value)}{aws.get(parameter, '')}" for parameter, value in rule.defaults.items()]
        expected[name] = ", ".join(cells)

    table = PAGE.split("| rule | parameters by default |")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)) == expected
    assert all(rule.aws for rule in RULES.values())


def test_a_rule_of_ones_own_is_what_the_page_says():
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(block, "diagnostics.md", "exec"), {})
    try:
        own = known_rules()["HighLoss"]
        assert own.check(statistics(), **own.defaults) is None
        assert own.check(statistics(samples=[sample(7, loss=11.0)]), **own.defaults).step == 7
        with pytest.raises(NotApplicable):
            own.check(statistics(samples=[]), **own.defaults)
    finally:
        del rule_module._FOUND["HighLoss"]
