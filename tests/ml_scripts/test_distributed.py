"""Several processes: the same training as one, and an end if one of them dies."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from distributed import Group
from safetensors.torch import load_file

from tests.ml_scripts.conftest import start_script

sys.path.insert(0, str(Path(__file__).parent))
import probe


def finish(processes, seconds=300):
    return [(*process.communicate(timeout=seconds), process.returncode) for process in processes]


class Probe:
    """Lets the fixture ``ranks`` start probe.py instead of a job."""

    def __init__(self, *words):
        self.words = words

    def start(self, *_, script, **environ):
        return start_script([probe.__file__, *self.words], **environ)


@pytest.mark.parametrize(("kind", "world"), [("head", 2), ("head", 3), ("all", 2)])
def test_gradients_of_several_processes_equal_those_of_one(tmp_path, ranks, kind, world):
    # GIVEN what one process computes for three global batches, the last of a single sample
    alone = probe.run(kind, Group())

    # WHEN several share the same batches unevenly
    for printed, complaints, status in finish(ranks(Probe(kind, str(tmp_path)), world)):
        assert status == 0, printed + complaints
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(world)]

    # THEN every step's gradient and loss are the same, up to the order of sums
    for step in range(probe.STEPS):
        expected = alone[f"gradient {step}"]
        assert expected.abs().max() > 1e-4
        for each in found:
            torch.testing.assert_close(each[f"loss {step}"], alone[f"loss {step}"], rtol=1e-4, atol=1e-5)
            difference = (each[f"gradient {step}"] - expected).norm() / expected.norm()
            assert difference < (1e-5 if step == 0 else 1e-2), f"step {step}"

    # AND the first of them has seen the whole batches' activations, as the one process has
    seen = {name for name in alone if " in step " in name}
    assert seen == {name for name in found[0] if " in step " in name}
    assert {name.partition(" in ")[2] for name in seen} == ({"step 1", "step 3"} if kind == "all" else set())
    for name in seen:
        inputs, variance, *activity = found[0][name].tolist()
        assert inputs == alone[name][0]
        assert variance == pytest.approx(alone[name][1].item(), rel=1e-2)
        # A unit on the brink of a percent may be counted on either side of it.
        assert (torch.tensor(activity) - alone[name][2:]).abs().sum() <= 0.1 * sum(activity)
    assert not any(" in step " in name for each in found[1:] for name in each)

    # AND every rank ends with identical weights, to the last bit
    assert all(torch.equal(each["weights"], found[0]["weights"]) for each in found)


def test_two_processes_train_what_one_does_and_only_the_first_writes(job, ranks, pictures):
    # GIVEN pictures of which one cannot be read, and one process's result
    copied = shutil.copytree(pictures, job.base / "copied")
    bad = sorted((copied / "train").rglob("*.jpg"))[1]
    bad.write_text("not a picture")
    common = ("--epochs", 3, "--augment-views", 1, "--precision", "float32", "--batch-size", 10)
    job.pictures = copied
    job.here(*common)
    alone, weights = json.loads((job.output / "history.json").read_text()), load_file(job.model / "model.safetensors")
    shutil.rmtree(job.model)

    # WHEN two processes do the same
    (first, complaints, status), (second, other_complaints, other_status) = finish(ranks(job, 2, *common))

    # THEN they arrive at the same model, and only rank 0 speaks
    assert (status, other_status) == (0, 0), complaints + other_complaints
    assert second == ""
    assert "images: train=23 valid=9 test=9 unreadable=1" in first
    assert f"unreadable image: {bad.relative_to(copied).as_posix()}" in first
    together = json.loads((job.output / "history.json").read_text())
    for one, two in zip(alone, together, strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], abs=1e-3)
        assert two["valid_loss"] == pytest.approx(one["valid_loss"], abs=1e-3)
    for name, tensor in load_file(job.model / "model.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-2, atol=1e-3)
    assert json.loads((job.model / "model.json").read_text())["training"]["world_size"] == 2

    # AND the first one has the profile of both, who waited for each other
    profile = json.loads((job.output / "profile.json").read_text())
    assert (profile["world"], [rank["rank"] for rank in profile["ranks"]]) == (2, [0, 1])
    assert sum(rank["pictures"] for rank in profile["ranks"]) == 24 + 9 + 9  # with the one that cannot be read
    assert all(rank["phases"]["exchange"] > 0 for rank in profile["ranks"])


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_a_lost_rank_ends_the_job(job, ranks, end):
    # GIVEN two processes in the middle of training
    first, second = ranks(job, 2, "--epochs", 1_000_000, "--peer-timeout", 3)
    for line in first.stdout:
        if line.startswith("epoch=2 "):
            break

    # WHEN one dies, or stops answering
    second.send_signal(end)

    # THEN the other ends too, and says why
    _, complaints = first.communicate(timeout=120)
    assert first.returncode == 1
    assert "process 0 of 2 lost contact with another process of this job during" in complaints
    assert "Traceback" not in complaints
    assert job.failure.read_text().startswith("process 0 of 2 lost contact")

    # AND its own profile is there
    profile = json.loads((job.output / "profile.json").read_text())
    assert (profile["complete"], profile["missing"]) == (False, [1])
    assert profile["ranks"][0]["steps"]["count"] > 0


def test_sigterm_to_all_saves_once_and_a_single_process_can_go_on(job, ranks):
    job.checkpoints.mkdir()
    common = ("--batch-size", 7, "--precision", "float32")
    processes = ranks(job, 2, "--epochs", 1_000_000, *common)
    for line in processes[0].stdout:
        if line.startswith("epoch=2 "):
            break

    for process in processes:
        process.send_signal(signal.SIGTERM)
    ends = finish(processes, 30)

    assert "saved in" in ends[0][1]
    assert ends[0][2] == 143
    done = ends[0][0].count("epoch=") + 2
    job.here("--epochs", done + 1, *common)
    assert (job.model / "model.json").exists()


def test_instances_with_different_pictures_are_refused(job, ranks, pictures):
    copied = shutil.copytree(pictures, job.base / "copied")
    next((copied / "train").rglob("*.jpg")).unlink()

    class Mixed:
        def start(self, *extra, script, **environ):
            job.pictures = copied if environ["RANK"] else pictures
            return job.start(*extra, script=script, **environ)

    for _, complaints, status in finish(ranks(Mixed(), 2)):
        assert status == 1
        # PyTorch warns where nothing on the machine can say what an address is called.
        said = [line for line in complaints.splitlines() if "[c10d] The hostname of the client" not in line]
        assert said == ["the instances were given different pictures; the channels must be FullyReplicated"]
