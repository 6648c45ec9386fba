"""Training from the command line, end to end, on a handful of pictures."""

import json
import re
import shutil

import pytest
import torch
from errors import UserError
from safetensors.torch import load_file

from tests.ml_scripts.conftest import TELLING, stage

EPOCH_LINE = re.compile(
    r"^epoch=(\d+) train_loss=([0-9.eE+-]+) valid_loss=([0-9.eE+-]+) valid_accuracy=([0-9.eE+-]+) "
    r"best_valid_loss=([0-9.eE+-]+) seconds=([0-9.]+)$",
    re.MULTILINE,
)


def read(path):
    return json.loads(path.read_text())


@pytest.mark.slow
def test_the_command_trains_reports_and_leaves_an_artifact(job, tmp_path):
    # GIVEN a job as SageMaker starts it, on the package's own file as it is staged for one
    job.weights = stage(tmp_path / "original")
    done = job.start(
        *("--epochs", 6, "--augment-views", 1, "--batch-size", 16, "--_tuning_objective_metric", "valid:loss"),
        *TELLING,
        anew=True,
    )

    # WHEN it runs
    printed, complaints = done.communicate()

    # THEN it prints what metric definitions read
    assert done.returncode == 0, complaints
    epochs = EPOCH_LINE.findall(printed)
    assert [int(line[0]) for line in epochs] == [1, 2, 3, 4, 5, 6]
    best = [float(line[4]) for line in epochs]
    assert best == sorted(best, reverse=True)
    assert float(epochs[-1][1]) < float(epochs[0][1])
    assert "images: train=24 valid=9 test=9 unreadable=0" in printed
    assert re.search(r"^Test set: Average loss: [0-9.]+, Accuracy: \d/9 \([0-9.]+%\)$", printed, re.MULTILINE)
    assert re.search(r"^test_loss=[0-9.]+ test_accuracy=[0-9.]+$", printed, re.MULTILINE)

    # AND leaves the files that others read
    evaluation, model = read(job.output / "evaluation.json"), read(job.model / "model.json")
    classes = sorted(folder.name for folder in (job.pictures / "train").iterdir())
    assert evaluation["accuracy"] > 0.6  # chance is a third
    assert (evaluation["images"], evaluation["classes"], evaluation["unreadable"]) == (9, classes, [])
    assert [sum(row) for row in evaluation["confusion"]] == [3, 3, 3]
    assert [item["label"] for item in evaluation["per_class"]] == classes
    assert len(evaluation["worst"]) == 9
    assert evaluation["worst"][0]["probability"] <= evaluation["worst"][-1]["probability"]
    assert evaluation["worst"][0]["thumbnail"].startswith("/9j/")  # JPEG in base64
    assert (job.pictures / evaluation["worst"][0]["file"]).is_file()
    assert [entry["epoch"] for entry in read(job.output / "history.json")] == [1, 2, 3, 4, 5, 6]
    assert (model["backbone"], model["head"], model["classes"]) == ("efficientnet_lite0", "hidden", classes)
    assert model["training"]["test_accuracy"] == evaluation["accuracy"]
    assert model["training"]["world_size"] == 1
    weights = load_file(job.model / "model.safetensors")
    assert weights["head.2.weight"].shape == (3, 128)
    assert {path.name for path in (job.model / "code" / "vendor").iterdir()} == {
        "efficientnet_lite_pytorch",
        "safetensors",
    }
    assert not list(job.model.rglob("__pycache__"))

    # AND where its time went
    profile = read(job.output / "profile.json")
    (rank,) = profile["ranks"]
    assert (profile["complete"], profile["missing"], rank["steps"]["count"]) == (True, [], 18)
    assert rank["pictures"] == 42
    assert all(rank["phases"][name] > 0 for name in ("initialisation", "read", "decode", "features", "validation"))
    assert all(rank["in_steps"][name] > 0 for name in ("forward", "backward", "optimiser"))
    assert sum(rank["in_steps"].values()) == pytest.approx(rank["steps"]["mean"] * 18, rel=0.01)
    assert {each["status"] for each in profile["rules"]} <= {"NoIssuesFound", "IssuesFound", "Stopped"}
    assert f"profile: {profile['verdict']['sentence']}" in printed


def test_the_kept_epoch_is_the_one_with_the_lowest_validation_loss(job):
    # A learning rate high enough that later epochs are worse than earlier ones.
    job.here("--epochs", 6, "--lr", 0.1, "--batch-size", 8)

    history, training = read(job.output / "history.json"), read(job.model / "model.json")["training"]
    losses = [entry["valid_loss"] for entry in history]
    assert training["best_epoch"] == losses.index(min(losses)) + 1
    assert training["valid_loss"] == min(losses)
    # What models are chosen by, beside what the test set says of this one.
    assert read(job.output / "evaluation.json")["validation"] == {
        "epoch": training["best_epoch"],
        "loss": min(losses),
        "accuracy": training["valid_accuracy"],
    }


@pytest.mark.slow
def test_the_feature_cache_changes_nothing_but_the_time(job, tmp_path):
    common = ("--epochs", 3, "--augment-views", 2, "--precision", "float32")
    job.here(*common)
    cached = read(job.output / "history.json")
    job.here(*common, "--no-feature-cache", "--workers", 2)
    uncached = read(job.output / "history.json")

    for one, other in zip(cached, uncached, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)
        assert one["valid_loss"] == pytest.approx(other["valid_loss"], abs=1e-4)


@pytest.mark.slow
def test_finetuning_everything_changes_the_backbone_and_learns(job):
    import pretrained

    trained = ("--epochs", 3, "--finetune", "all", "--augment-views", 1, "--head", "linear", "--batch-size", 12)
    job.here(*trained, "--image-size", 64)

    history, trained = read(job.output / "history.json"), load_file(job.model / "model.safetensors")
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["valid_accuracy"] > 0.6  # chance is a third
    before = pretrained.load(job.weights, "efficientnet_lite0", "_fc.")
    assert not torch.equal(trained["backbone._conv_stem.weight"], before["_conv_stem.weight"])
    assert torch.equal(trained["backbone._bn0.running_mean"], before["_bn0.running_mean"])


@pytest.mark.slow
def test_a_resnet_of_random_weights_trains(job):
    job.here("--backbone", "resnet18", "--pretrained", "False", "--epochs", 2)

    assert read(job.model / "model.json")["backbone"] == "resnet18"
    assert {path.name for path in (job.model / "code" / "vendor").iterdir()} == {"safetensors"}


def test_patience_ends_training_early(job):
    job.here("--epochs", 50, "--lr", 0.1, "--patience", 2)

    history, training = read(job.output / "history.json"), read(job.model / "model.json")["training"]
    assert len(history) == training["best_epoch"] + 2 < 50


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(job):
    weights = []
    for _ in range(2):
        job.here("--epochs", 2, "--augment-views", 1, "--seed", 7)
        weights.append(load_file(job.model / "model.safetensors"))

    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_loss_that_is_no_number_ends_the_job(job, monkeypatch):
    import training

    monkeypatch.setattr(training, "adam", lambda state, flat, gradient, lr: flat.values.fill_(float("nan")))
    with pytest.raises(UserError, match=r"the training loss became nan in epoch 1: --lr 0.001 is too high"):
        job.here("--epochs", 2, "--batch-size", 8)


@pytest.fixture
def copied(tmp_path, pictures):
    """A copy of the pictures, to be spoilt."""
    return shutil.copytree(pictures, tmp_path / "copied")


def spoil(folder, count):
    """Replace pictures by files that are none; returns their names as reports give them."""
    names = []
    for index, path in enumerate(sorted((folder / "train").rglob("*.jpg"))[:count]):
        if index % 2:
            path.write_bytes(path.read_bytes()[:2000])  # a truncated photo
        else:
            path.write_text("not a picture")
        names.append(path.relative_to(folder).as_posix())
    return names


@pytest.mark.parametrize("mode", [(), ("--no-feature-cache",)], ids=["cached", "uncached"])
def test_unreadable_pictures_below_the_share_are_named_and_left_out(job, copied, capsys, mode):
    names = spoil(copied, 2)

    job.here("--epochs", 1, *mode, pictures=copied)

    printed = capsys.readouterr().out
    assert f"unreadable image: {names[0]} (not a picture in one of the formats JPEG" in printed
    assert re.search(rf"unreadable image: {re.escape(names[1])} \(.*truncated", printed)
    assert "images: train=22 valid=9 test=9 unreadable=2" in printed
    assert [item["file"] for item in read(job.output / "evaluation.json")["unreadable"]] == names


def test_unreadable_pictures_above_the_share_end_the_job(job, copied):
    names = spoil(copied, 5)

    with pytest.raises(UserError, match=rf"5 of 42 files \(11.9%\).*--max-unreadable-share 0.1 .*{names[0]}"):
        job.here("--epochs", 1, "--max-unreadable-share", 0.1, pictures=copied)


def test_a_class_without_a_readable_picture_ends_the_job(job, copied):
    spoil(copied, 8)  # all of the first breed

    with pytest.raises(UserError, match="channel train has a class without a single readable picture"):
        job.here("--epochs", 1, "--max-unreadable-share", 0.5, pictures=copied)


def test_classes_that_differ_between_splits_end_the_job(job, copied):
    (copied / "valid" / "002.Amber_hound").rename(copied / "valid" / "002.Amber_hund")

    with pytest.raises(UserError, match=r"channel valid lacks 002.Amber_hound and has 002.Amber_hund besides"):
        job.here(pictures=copied)


def test_an_empty_class_ends_the_job(job, copied):
    shutil.rmtree(copied / "test" / "002.Amber_hound")
    (copied / "test" / "002.Amber_hound").mkdir()

    with pytest.raises(UserError, match=r"class folder test/002.Amber_hound is empty"):
        job.here(pictures=copied)


def test_hidden_files_are_no_pictures(job, copied, capsys):
    (copied / "train" / "001.Ash_spitz" / ".DS_Store").write_text("x")
    (copied / "train" / ".cache").mkdir()

    job.here("--epochs", 1, pictures=copied)

    assert "images: train=24 valid=9 test=9 unreadable=0" in capsys.readouterr().out


@pytest.mark.slow
def test_a_users_mistake_is_one_sentence_on_stderr_and_in_the_failure_file(job):
    done = job.start("--test", "/nowhere", SM_OUTPUT_DIR=job.failure.parent)

    printed, complaints = done.communicate()

    assert done.returncode == 1
    assert (
        complaints == "channel test is '/nowhere', which is no folder; it must hold one folder of pictures per class\n"
    )
    assert job.failure.read_text() == complaints.strip()
    assert "epoch=" not in printed
