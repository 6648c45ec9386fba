"""Evaluating a finished model: the same figures as the job that trained it."""

import hashlib
import io
import json
import shutil
import tarfile

import evaluate
import inference
import pytest
from errors import UserError

from tests.ml_scripts.conftest import Job


@pytest.fixture(scope="module")
def training(tmp_path_factory, pictures, weights):
    """A training and a channel with its model, made once."""
    job = Job(tmp_path_factory.mktemp("training"), pictures, weights)
    job.here("--epochs", 2)
    channel = job.base / "channel"
    channel.mkdir()
    with tarfile.open(channel / "model.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(job.model, ".")
    return job


@pytest.fixture
def trained(job, training):
    """That channel; the job is as if it had done the training."""
    shutil.copytree(training.base, job.base, dirs_exist_ok=True)
    return job.base / "channel"


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


def test_what_it_said_of_each_picture_is_what_the_training_said_and_what_serves_says(job, trained):
    # GIVEN what the training wrote down of each test picture
    judged = json.loads((job.output / "predictions.json").read_text())
    scored = json.loads((job.output / "evaluation.json").read_text())
    digest = hashlib.sha256((job.model / "model.safetensors").read_bytes()).hexdigest()[:16]
    assert judged["weights"] == digest
    assert judged["classes"] == scored["classes"]
    assert [row[0] for row in judged["pictures"]] == sorted(
        path.relative_to(job.pictures / "test").as_posix() for path in (job.pictures / "test").rglob("*.jpg")
    )
    confusion = [[0] * 3 for _ in range(3)]
    for file, size, label, predicted, _ in judged["pictures"]:
        assert file.startswith(judged["classes"][label] + "/")
        assert size == (job.pictures / "test" / file).stat().st_size
        confusion[label][predicted] += 1
    assert confusion == scored["confusion"]
    worst = {item["file"]: item["probability"] for item in scored["worst"] if item["label"] == item["predicted"]}
    assert worst
    assert worst == pytest.approx(
        {f"test/{file}": probability for file, *_, probability in judged["pictures"] if f"test/{file}" in worst},
        abs=1e-6,
    )

    # WHEN the finished model is evaluated, and served
    run(trained, job.pictures / "test", job.base / "again")
    again = json.loads((job.base / "again" / "predictions.json").read_text())
    model = inference.model_fn(str(job.model))

    # THEN each says the same of every picture
    assert (again["weights"], again["classes"], model.about["weights"]) == (digest, judged["classes"], digest)
    for first, second in zip(judged["pictures"], again["pictures"], strict=True):
        assert second[:4] == first[:4]
        assert second[4] == pytest.approx(first[4], abs=1e-3)
        prediction = inference.predict_fn((job.pictures / "test" / first[0]).read_bytes(), model)
        served = json.loads(inference.output_fn(prediction, None)[0])["predictions"][0]
        assert served["label"] == judged["classes"][first[3]]
        assert served["probability"] == pytest.approx(first[4], abs=0.03)


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
