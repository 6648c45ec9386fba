"""The diagnostics in a training: which rules are chosen, what is recorded, and how they speak."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from backbones import Classifier
from data import Split, read_splits
from diagnostics import inputs, recorder
from diagnostics.choice import choose
from diagnostics.rule import known_rules
from diagnostics.session import Diagnostics
from distributed import Group
from errors import UserError
from images import Normalisation
from optimiser import FlatParameters
from torch import nn

SCRIPTS = Path(inputs.__file__).parents[1]
LIMITS = {"ReLU": (0.0, math.inf), "tanh": (-2.0, 2.0), "sigmoid": (-3.0, 3.0)}


def read(job) -> dict:
    return json.loads((job.output / "diagnostics.json").read_text())


def rules(content: dict) -> dict[str, dict]:
    return {each["rule"]: each for each in content["rules"]}


def test_the_default_is_every_rule_and_only_reports():
    chosen = choose("default")

    assert [each.rule.name for each in chosen] == sorted(known_rules())
    assert {each.action for each in chosen} == {"report"}
    assert next(each for each in chosen if each.rule.name == "DeadRelu").parameters["threshold_layer"] == 90


def test_aws_has_its_own_rules_and_defaults():
    chosen = {each.rule.name: each.parameters for each in choose("aws")}

    assert not {"LeakedValidation", "LargeBatch"} & set(chosen)
    assert chosen["DeadRelu"] == {"threshold_inactivity": 1.0, "threshold_layer": 50.0}


def test_single_rules_are_set_apart():
    text = "default,Overfit:off,VanishingGradient:stop:threshold=1e-6,UnchangedTensor:num_steps=5"
    chosen = {each.rule.name: each for each in choose(text)}

    assert "Overfit" not in chosen
    assert (chosen["VanishingGradient"].action, chosen["VanishingGradient"].parameters["threshold"]) == ("stop", 1e-6)
    assert (chosen["UnchangedTensor"].action, chosen["UnchangedTensor"].parameters["num_steps"]) == ("report", 5)
    assert [each.rule.name for each in choose("none,ExplodingTensor:only_nan=true")] == ["ExplodingTensor"]
    assert choose("none") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "VanishingGradiant",
            "--rules names 'VanishingGradiant'; it must be one of AllZero, .*or first default, aws or",
        ),
        ("DeadRelu:halt", "--rules has 'halt' for DeadRelu; it must be report, stop, end or off, or a parameter=value"),
        (
            "DeadRelu:layer=5",
            "--rules has the parameter 'layer' for DeadRelu; it must be one of threshold_inactivity, ",
        ),
        ("AllZero:threshold=all", "--rules has AllZero:threshold=all; it must be a number"),
        ("UnchangedTensor:num_steps=2.5", "--rules has UnchangedTensor:num_steps=2.5; it must be an integer"),
        ("ExplodingTensor:only_nan=1", "--rules has ExplodingTensor:only_nan=1; it must be true or false"),
    ],
)
def test_mistakes_in_the_choice_are_named(text, sentence):
    with pytest.raises(UserError, match=sentence):
        choose(text)


def test_the_choice_arrives_through_aws_toolkit_as_it_was_given():
    from sagemaker_training import mapping

    text = "default,Overfit:off,VanishingGradient:stop:threshold=1e-6"
    with pytest.raises(ValueError):
        json.loads(text)  # which the toolkit tries first, and then takes the text

    assert mapping.to_cmd_args({"rules": text}) == ["--rules", text]


class Twice(nn.Module):
    """One ReLU that is used twice, a tanh, and a part that is frozen."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid()).requires_grad_(False)
        self.head = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Tanh())
        self.relu = nn.ReLU()

    def forward(self, values):
        return self.head(self.relu(self.relu(values) - 1))


def test_a_sampled_step_is_recorded_exactly():
    # GIVEN a module whose inputs, gradients and weights are known
    module = Twice()
    module.head[0].weight.data.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, -2.0]]))
    flat = FlatParameters(module)
    recording = recorder.Recorder(module, flat, "", LIMITS, (1e-5, 1e-8))
    values = torch.tensor([[2.0, -1.0, 3.0], [4.0, -2.0, 0.5]])

    # WHEN a step is sampled
    with recording.watching():
        module(values)
    before, gradient = recording.look(flat.values), torch.tensor([0.0, 1.0, 0.0, -3.0, 0.0, 0.0])
    flat.values[0] += 3.0
    (weight,) = recording.parameters(gradient, before, flat.values, spread=True)
    seen = {each.name: each for each in recorder.merged([recording.activations()])}

    # THEN everything is what it was, and the frozen part is left out
    assert (weight.name, weight.numbers) == ("head.0.weight", 6)
    assert (weight.gradient_mean, weight.weight_mean) == pytest.approx((4 / 6, 8 / 6))
    assert (weight.gradient_zeros, weight.weight_zeros, weight.changed) == (4, 3, 1)
    assert (weight.weight_norm, weight.update_norm) == pytest.approx((3.0, 3.0))
    assert weight.spread == pytest.approx(4.0)
    assert set(seen) == {"relu", "relu#2", "head.1"}
    assert {each.kind for each in seen.values()} == {"ReLU", "tanh"}
    # The second column never is above 0, the first always is, the third always is.
    assert (seen["relu"].activity[0], seen["relu"].activity[100]) == (1, 2)
    assert seen["relu"].variance == pytest.approx(values.var(correction=0).item())
    # After subtracting 1 the third is above 0 in one of two.
    assert (seen["relu#2"].activity[0], seen["relu#2"].activity[50], seen["relu#2"].activity[100]) == (1, 1, 1)
    assert seen["relu"].below(1) == pytest.approx(100 / 3)

    # AND nothing is looked at any more
    module(values)
    assert set(recording.activations()) == set(seen)
    assert not module.relu._forward_pre_hooks


def test_what_is_not_looked_at_counts_where_it_is_not_a_number_or_not_zero():
    module = nn.Sequential(nn.Linear(3 * recorder.NUMBERS, 1, bias=False), nn.ReLU())
    flat = FlatParameters(module)
    recording = recorder.Recorder(module, flat, "head.", LIMITS, (1e-5, 1e-8))
    gradient = torch.zeros(3 * recorder.NUMBERS)

    def seen():
        return recording.parameters(gradient, recording.look(flat.values), flat.values, spread=False)[0]

    assert (seen().gradient_zeros, seen().gradient_mean) == (recorder.NUMBERS, 0.0)
    gradient[1] = 1.0
    assert (seen().numbers, seen().gradient_zeros) == (recorder.NUMBERS, recorder.NUMBERS - 1)
    gradient[1] = math.inf
    assert seen().gradient_mean == math.inf
    gradient[1] = math.nan
    assert math.isnan(seen().gradient_mean)


def test_what_has_changed_is_compared_with_the_sampled_step_before():
    module = nn.Sequential(nn.Linear(2, 2, bias=False))
    flat = FlatParameters(module)
    recording = recorder.Recorder(module, flat, "head.", LIMITS, (1e-5, 1e-8))

    def changed() -> int:
        return recording.parameters(torch.ones(4), recording.look(flat.values), flat.values, spread=False)[0].changed

    assert changed() == 0
    flat.values.add_(1.0)  # between two samples
    assert changed() == 4
    assert changed() == 0


def test_the_activations_of_several_processes_add_up():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    recording = recorder.Recorder(module, FlatParameters(module), "head.", LIMITS, (1e-5, 1e-8))
    values = torch.randn(10, 4)

    def seen(rows):
        with recording.watching():
            if len(rows):
                module(rows)
        return recording.activations()

    (alone,) = recorder.merged([seen(values)])
    (together,) = recorder.merged([seen(values[:7]), seen(values[:0]), seen(values[7:])])
    assert together.activity == alone.activity
    assert (together.inputs, together.variance) == pytest.approx((10, alone.variance))


def test_of_a_convolution_a_channel_is_a_unit_and_a_part_of_it_is_looked_at():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6())
    module[0].bias.data.copy_(torch.tensor([-9.0, 9.0, 9.0, 9.0]))
    recording = recorder.Recorder(module, FlatParameters(module), "", LIMITS, (1e-5, 1e-8))
    with recording.watching():
        module(torch.rand(20, 3, 50, 50))

    (found,) = recorder.merged([recording.activations()])
    assert (found.kind, found.inputs) == ("ReLU", recorder.PICTURES * recorder.PLACES**2)
    assert (found.activity[0], found.activity[100]) == (1, 3)


@pytest.mark.slow
def test_of_a_frozen_backbone_nothing_is_watched():
    classifier = Classifier("resnet18", "hidden", 3, 32)
    classifier.backbone.requires_grad_(False)
    found = recorder.Recorder(classifier, FlatParameters(classifier), "", LIMITS, (1e-5, 1e-8))

    assert found.names == ["head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"]
    assert [name for name, *_ in found.watched] == ["head.1"]


def test_the_first_samples_and_the_newest_are_kept():
    samples: list[int] = []
    for number in range(100):
        recorder.keep(samples, number)

    assert samples == [0, 1, 2, *range(100 - recorder.KEPT, 100)]


def test_what_the_network_is_fed_is_described():
    moved = []
    watched = inputs.WatchedNormalisation(
        Normalisation((0.5,) * 3, (0.5, 0.25, 0.5), torch.device("cpu")), lambda: moved.append(1)
    )
    pixels = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    pixels[1] = 255
    made = watched(pixels)
    others = inputs.WatchedNormalisation(Normalisation((0.5,) * 3, (0.5,) * 3, torch.device("cpu")), lambda: None)

    found = inputs.described([watched.totals(), others.totals()])

    assert moved
    assert made.shape == (2, 3, 16, 16)
    assert (found.pictures, found.mean) == (2, pytest.approx([0.0, 0.0, 0.0]))
    assert found.deviation == pytest.approx([1.0, 2.0, 1.0])
    assert (found.minimum, found.maximum) == (pytest.approx([-1.0, -2.0, -1.0]), pytest.approx([1.0, 2.0, 1.0]))


@pytest.fixture
def leaking(tmp_path, pictures):
    """The pictures, one of validation among those of training, and one of as many bytes that is another picture."""
    copied = shutil.copytree(pictures, tmp_path / "copied")
    valid = sorted((copied / "valid").rglob("*.jpg"))
    shutil.copyfile(valid[1], copied / "train" / valid[1].parent.name / "again.jpg")
    other = sorted((copied / "train").rglob("*.jpg"))[0]
    other.write_bytes(other.read_bytes() + bytes(100_000 - other.stat().st_size))
    valid[2].write_bytes(valid[2].read_bytes() + bytes(100_000 - valid[2].stat().st_size))
    return copied, valid[1].relative_to(copied).as_posix()


def test_a_picture_that_is_in_both_splits_is_found(leaking):
    copied, name = leaking
    _, splits = read_splits(copied / "train", copied / "valid", copied / "test")

    assert inputs.leaked(splits["train"], splits["valid"]) == [name]
    parts = [inputs.leaked(splits["train"], splits["valid"], rank, 3) for rank in range(3)]
    assert [each for part in parts for each in part] == [name]


def test_pictures_that_have_gone_are_no_reason_to_end(tmp_path):
    splits = {name: Split(name, tmp_path, ["a/1.jpg"], [0]) for name in ("train", "valid")}
    diagnostics = Diagnostics(choose("none,LeakedValidation"), Group(), splits, ["a", "b"], "head", 8, 1)
    diagnostics.readable(splits)
    diagnostics.judge()

    outcome = diagnostics.outcomes["LeakedValidation"]
    assert (outcome.status, outcome.details) == ("Stopped", "the files were not compared")


def test_a_training_says_what_its_rules_found(job, leaking, capsys):
    # GIVEN a training set with a validation picture in it
    copied, name = leaking

    # WHEN a head is trained
    job.here("--epochs", 12, "--batch-size", 8, "--head", "linear", pictures=copied)

    # THEN the issue is said when it is found, in a form that metric definitions can read
    printed = capsys.readouterr().out
    assert re.search(
        rf"^DiagnosticRule LeakedValidation: IssuesFound step=0 value=1 threshold=0: .*{re.escape(name)}.*$",
        printed.split("epoch=1 ")[0],
        re.MULTILINE,
    )
    assert re.search(r"^diagnostics: issues=1 none=14 stopped=2 errors=0$", printed, re.MULTILINE)

    # AND the file has every rule with one of AWS's statuses, and the curves
    content = read(job)
    found = rules(content)
    assert set(found) == set(known_rules())
    assert {name for name, each in found.items() if each["status"] == "IssuesFound"} == {"LeakedValidation"}
    assert found["LeakedValidation"]["issue"] == {"step": 0, "value": 1, "threshold": 0}
    assert found["VanishingGradient"]["status_details"].endswith("12 epochs of the head, the backbone being frozen")
    # What cannot apply says so, and is not called healthy.
    stopped = {name: each["status_details"] for name, each in found.items() if each["status"] == "Stopped"}
    assert stopped == {
        "DeadRelu": "the head, which alone is trained, has no ReLU",
        "SaturatedActivation": "the head, which alone is trained, has no tanh and no sigmoid",
    }
    assert content["trained"] == "head"
    assert content["inputs"]["pictures"] == 43
    assert [each["step"] for each in content["steps"]][:3] == [1, 3, 10]
    assert len(content["epochs"]) == 12


def test_a_rule_that_stops_ends_the_training_with_its_sentence(job):
    with pytest.raises(UserError, match=r"^DiagnosticRule WeightUpdateRatio: a step changed head\.\S+ by \S+ times "):
        job.here("--epochs", 6, "--lr", 10, "--rules", "none,WeightUpdateRatio:stop")

    (found,) = read(job)["rules"]
    assert (found["status"], found["action"], found["issue"]["step"]) == ("IssuesFound", "stop", 1)
    assert not (job.model / "model.json").exists()


ENDS = "none,Overtraining:end:patience_train=1:patience_validation=2:delta=9"


@pytest.mark.slow
def test_a_rule_that_ends_a_training_keeps_its_best_epoch(job, capsys):
    job.checkpoints.mkdir()
    job.here("--epochs", 12, "--batch-size", 8, "--head", "linear", "--rules", ENDS)

    # The rule is evaluated after the epoch that has the tenth step: the fourth.
    content = read(job)
    assert (content["ended_by"], content["planned_epochs"], content["steps_per_epoch"]) == ("Overtraining", 12, 3)
    assert len(content["epochs"]) == 4
    printed = capsys.readouterr().out
    assert "the training ends after epoch 4 of 12: DiagnosticRule Overtraining: the validation loss has not" in printed
    best = min(content["epochs"], key=lambda each: each["valid_loss"])
    kept = json.loads((job.output / "evaluation.json").read_text())["validation"]
    assert (kept["epoch"], kept["loss"]) == (best["epoch"], best["valid_loss"])
    # What a tuning job takes for the objective is the last one that was printed.
    assert float(re.findall(r"best_valid_loss=(\S+)", printed)[-1]) == pytest.approx(best["valid_loss"], abs=1e-4)

    # AND the same job, started again, trains no further
    job.here("--epochs", 12, "--batch-size", 8, "--head", "linear", "--rules", ENDS)
    assert read(job)["epochs"] == content["epochs"]


@pytest.mark.slow
@pytest.mark.parametrize("rules", [ENDS, ENDS.replace(":end", ":stop")])
def test_all_processes_of_a_job_end_together_where_a_rule_ends_it(job, ranks, rules):
    told = ["--epochs", 12, "--batch-size", 8, "--head", "linear", "--finetune", "head", "--rules", rules]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in ranks(job, 2, *told)]

    ends = ":end" in rules
    assert [status for *_, status in ended] == [0 if ends else 1] * 2, ended
    assert len(read(job)["epochs"]) == 4
    assert read(job)["ended_by"] == ("Overtraining" if ends else None)
    assert (job.model / "model.json").exists() is ends
    if not ends:
        assert all("DiagnosticRule Overtraining: " in complaints for _, complaints, _ in ended)


@pytest.mark.slow
def test_a_rule_has_nothing_to_end_in_the_first_epoch_nor_after_the_last(job, leaking):
    with pytest.raises(UserError, match=r"^DiagnosticRule LeakedValidation: "):
        job.here("--epochs", 3, "--rules", "none,LeakedValidation:end", pictures=leaking[0])
    job.here("--epochs", 4, "--batch-size", 8, "--rules", ENDS)
    assert read(job)["ended_by"] is None
    assert rules(read(job))["Overtraining"]["status"] == "IssuesFound"


@pytest.mark.slow
def test_of_two_rules_that_stop_the_one_speaks_that_found_something_first(job):
    with pytest.raises(UserError, match=r"^DiagnosticRule WeightUpdateRatio: .* \(step 1\)$"):
        job.here(
            "--epochs", 8, "--lr", 10, "--batch-size", 8, "--rules", "default,Confusion:stop,WeightUpdateRatio:stop"
        )


@pytest.mark.slow
@pytest.mark.parametrize("finetune", ["head", "all"])
def test_a_batch_in_parts_trains_the_same_with_less_at_once(job, finetune, monkeypatch):
    together: list[int] = []
    forward = Classifier.forward

    def counted(self, pictures):
        if self.training:
            together.append(len(pictures))
        return forward(self, pictures)

    monkeypatch.setattr(Classifier, "forward", counted)
    trained = ["--epochs", 1, "--batch-size", 9, "--finetune", finetune, "--lr", 0.0001]
    histories = []
    for parts in (1, 3):
        together.clear()
        job.here(*trained, "--accumulation", parts)
        histories.append(read(job))
        if finetune == "all":
            assert together == ([9, 9, 6] if parts == 1 else [3, 3, 3, 3, 3, 3, 2, 2, 2])
    whole, parted = (each["epochs"][0] for each in histories)
    # A network's batch normalisation sees the parts, a head has none.
    assert parted["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-4 if finetune == "head" else 0.3)
    assert [each["step"] for each in histories[1]["steps"]] == [1, 3]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError()]
)
def test_a_training_that_does_not_fit_into_memory_says_so(job, monkeypatch, error):
    import training

    def full(*_, **__):
        raise error

    monkeypatch.setattr(training, "batch_gradient", full)
    sentence = r"^DiagnosticRule OutOfMemory: 4 of the 8 pictures of a batch at once are too many .*accumulation, 2 now"
    with pytest.raises(UserError, match=sentence):
        job.here("--epochs", 1, "--batch-size", 8, "--accumulation", 2)
    monkeypatch.setattr(training, "batch_gradient", lambda *_, **__: [] + 1)
    with pytest.raises(TypeError):
        job.here("--epochs", 1)


@pytest.mark.parametrize(
    ("action", "sentence"), [("stop", "DiagnosticRule ExplodingTensor"), ("report", "the training")]
)
def test_a_loss_that_is_no_number_is_the_rules_to_say(job, monkeypatch, action, sentence):
    import training

    def explode(state, flat, gradient, lr):
        state.step += 1
        flat.values.fill_(float("nan"))

    monkeypatch.setattr(training, "adam", explode)
    with pytest.raises(UserError, match=f"^{sentence}"):
        job.here("--epochs", 2, "--batch-size", 8, "--rules", f"default,ExplodingTensor:{action}")

    assert rules(read(job))["ExplodingTensor"]["issue"] == {"step": 1, "value": None, "threshold": 0.0}


def test_a_training_that_stands_still_is_ended_from_beside(job):
    # GIVEN a training whose disk hangs
    hangs = job.base / "hangs.py"
    hangs.write_text(
        f"import sys, time; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import train, errors, features\n"
        "features.open_image = lambda *_: time.sleep(600)\n"
        "errors.run(train.main)\n"
    )
    process = job.start("--rules", "StalledTrainingRule:stop:threshold=1", script=hangs)

    # WHEN it is given a second
    _, complaints = process.communicate(timeout=120)

    # THEN it has ended, long before the disk would answer
    assert process.returncode == 1
    assert job.failure.read_text().startswith("DiagnosticRule StalledTrainingRule: no batch was finished for 1")
    assert job.failure.read_text() in complaints
    assert rules(read(job))["StalledTrainingRule"]["status"] == "IssuesFound"


def test_a_rule_that_breaks_is_an_error_and_nothing_else(job, monkeypatch):
    known = known_rules()
    monkeypatch.setitem(vars(known["Overfit"]), "check", lambda seen, **_: 1 / 0)

    job.here("--epochs", 1, "--batch-size", 8)

    found = rules(read(job))["Overfit"]
    assert (found["status"], found["status_details"]) == ("Error", "ZeroDivisionError: division by zero")


def test_without_rules_nothing_is_recorded(job, capsys):
    job.here("--epochs", 1, "--rules", "none")

    assert not (job.output / "diagnostics.json").exists()
    assert "iagnostic" not in capsys.readouterr().out


def test_what_was_found_before_an_interruption_is_still_known_after_it(job, leaking):
    # GIVEN a training that has found something and ended
    copied, _ = leaking
    job.checkpoints.mkdir()
    job.here("--epochs", 2, pictures=copied)
    assert rules(read(job))["LeakedValidation"]["status"] == "IssuesFound"

    # WHEN it goes on, and the rule would no longer find it
    job.here("--epochs", 3, "--rules", "default,LeakedValidation:most_leaked=5", pictures=copied)

    # THEN it is still an issue, and what was not seen again is said to be so
    found = rules(read(job))
    assert found["LeakedValidation"]["status"] == "IssuesFound"
    assert found["PoorWeightInitialization"]["status_details"].startswith("the training went on from a checkpoint")
    assert found["CheckInputImages"]["status_details"].startswith("no picture was read: the features of all of them")
