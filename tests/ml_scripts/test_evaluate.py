"""Evaluating a finished model: the same figures as the job that trained it."""

import io
import json
import shutil
import tarfile

import evaluate
import pytest
from errors import UserError


@pytest.fixture
def trained(job):
    job.here("--epochs", 2)
    channel = job.base / "channel"
    channel.mkdir()
    with tarfile.open(channel / "model.tar.gz", "w:gz") as archive:
        archive.add(job.model, ".")
    return channel


def run(channel, test, output):
    evaluate.main(["--model", str(channel), "--test", str(test), "--output-dir", str(output)])
    return json.loads((output / "evaluation.json").read_text())


def test_an_archive_gives_the_evaluation_its_training_gave(job, trained, capsys):
    expected = json.loads((job.output / "evaluation.json").read_text())

    found = run(trained, job.pictures / "test", job.base / "again")

    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert {name: found[name] for name in ("accuracy", "confusion", "per_class", "classes")} == {
        name: expected[name] for name in ("accuracy", "confusion", "per_class", "classes")
    }
    printed = capsys.readouterr().out.splitlines()
    assert "images: test=9 unreadable=0" in printed
    assert printed[-1] == f"test_loss={found['loss']:.4f} test_accuracy={found['accuracy']:.4f}"
    assert printed[-2].startswith(f"Test set: Average loss: {found['loss']:.4f}, Accuracy: ")


def test_an_unpacked_model_will_do(job, trained):
    assert run(job.model, job.pictures / "test", job.base / "again")["images"] == 9


def test_other_classes_are_refused(job, trained, tmp_path):
    copied = shutil.copytree(job.pictures / "test", tmp_path / "copied")
    (copied / "001.Ash_spitz").rename(copied / "009.Poodle")

    with pytest.raises(UserError, match=r"has 3 classes and the model 3; they differ in 001.Ash_spitz, 009.Poodle"):
        run(trained, copied, tmp_path / "out")


def test_a_channel_without_a_model_is_named(job, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(UserError, match=r"holds neither model.tar.gz nor model.json"):
        run(tmp_path / "empty", job.pictures / "test", tmp_path / "out")


def test_an_archive_that_would_write_elsewhere_is_refused(job, tmp_path):
    (tmp_path / "evil").mkdir()
    with tarfile.open(tmp_path / "evil" / "model.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../outside.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))

    with pytest.raises(UserError, match=r"model.tar.gz cannot be unpacked: .*outside"):
        run(tmp_path / "evil", job.pictures / "test", tmp_path / "out")
    assert not (tmp_path / "outside.txt").exists()
