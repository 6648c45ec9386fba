"""Going on after an interruption: the same weights as if there had been none."""

import signal

import pytest
import torch
from backbones import build_head
from checkpoints import FILE, Checkpoints, State
from distributed import Group
from errors import STOPPED_STATUS, Stopped, UserError
from features import Cached, Features
from precision import Precision
from safetensors.torch import load_file
from training import Plan, Stop, Task, train


def weights_of(job):
    return load_file(job.model / "model.safetensors")


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


COMMON = ("--augment-views", 1, "--batch-size", 7, "--precision", "float32")


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(job, capsys):
    # GIVEN an uninterrupted run of four epochs
    job.here("--epochs", 4, *COMMON)
    uninterrupted, history = weights_of(job), (job.output / "history.json").read_text()

    # WHEN a run ends after two, and another goes on
    job.checkpoints.mkdir()
    job.here("--epochs", 2, *COMMON)
    assert not equal(weights_of(job), uninterrupted)
    job.here("--epochs", 4, *COMMON)

    # THEN it says so, does only what was left, and arrives at the same weights
    printed = capsys.readouterr().out
    assert f"resumed from {job.checkpoints / FILE}: 2 epochs and 0 batches done" in printed
    assert printed.count("epoch=1 ") == 2
    assert equal(weights_of(job), uninterrupted)
    assert history.count('"epoch"') == (job.output / "history.json").read_text().count('"epoch"') == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", [(), ("--finetune", "all", "--augment-views", 0, "--image-size", 32)], ids=["head", "all"]
)
def test_sigterm_saves_and_ends_and_the_next_start_goes_on_from_that_batch(job, mode):
    # GIVEN a run that is in the middle of an epoch
    job.checkpoints.mkdir()
    process = job.start("--epochs", 100_000, *COMMON, *mode)
    for line in process.stdout:
        if line.startswith("epoch=2 "):
            break

    # WHEN it is asked to stop
    process.send_signal(signal.SIGTERM)
    printed, complaints = process.communicate(timeout=120)

    # THEN it ends with a checkpoint and no model
    assert process.returncode == STOPPED_STATUS, complaints
    assert complaints.startswith("stopped: SIGTERM came in epoch")
    assert f"saved in {job.checkpoints / FILE}" in complaints
    assert not (job.model / "model.json").exists()

    # AND a run that goes on from it equals one that was never stopped
    epochs = 2 + printed.count("epoch=") + 2
    job.here("--epochs", epochs, *COMMON, *mode)
    resumed = weights_of(job)
    (job.checkpoints / FILE).unlink()
    job.here("--epochs", epochs, *COMMON, *mode)
    assert equal(weights_of(job), resumed)


class StopAfter:
    """Stands for SIGTERM in the middle of an epoch: requested from the given batch on."""

    def __init__(self, batches):
        self.left = batches

    @property
    def requested(self):
        self.left -= 1
        return self.left < 0


def task():
    torch.manual_seed(3)
    features = {
        name: Features(torch.randn(2, size, 6), torch.randint(0, 3, (size,)))
        for name, size in (("train", 9), ("valid", 4))
    }
    return Task(build_head("hidden", 6, 3), Cached(features), Precision(torch.device("cpu"), None), Group())


@pytest.mark.parametrize("batches", [0, 1, 4, 5, 7, 14])
def test_an_interruption_at_any_batch_changes_nothing(tmp_path, batches):
    # GIVEN three epochs of five batches, uninterrupted
    plan, whole = Plan(epochs=3, lr=0.01, batch_size=4, seed=5), task()
    expected = train(whole, plan, Stop(), None, lambda entry: None)

    # WHEN they are interrupted before batch number `batches` and continued
    kept = Checkpoints(tmp_path, {})
    with pytest.raises(Stopped, match=f"SIGTERM came in epoch {batches // 5 + 1}; the state is saved in"):
        train(task(), plan, StopAfter(batches), kept, lambda entry: None)
    again = task()
    state = train(again, plan, Stop(), kept, lambda entry: None)

    # THEN history and weights are those of the uninterrupted run
    plain = [{name: value for name, value in entry.items() if name != "seconds"} for entry in expected.history]
    assert [{name: value for name, value in entry.items() if name != "seconds"} for entry in state.history] == plain
    assert state.best_epoch == expected.best_epoch
    for one, other in zip(whole.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_half_written_checkpoint_is_ignored_with_a_message(job, capsys):
    job.checkpoints.mkdir()
    job.here("--epochs", 2, *COMMON)
    whole, expected = job.checkpoints / FILE, weights_of(job)
    whole.write_bytes(whole.read_bytes()[:5000])

    job.here("--epochs", 2, *COMMON)

    assert f"ignored checkpoint {whole}: " in capsys.readouterr().out
    assert equal(weights_of(job), expected)


def test_a_checkpoint_of_another_run_is_refused(job):
    job.checkpoints.mkdir()
    job.here("--epochs", 1, *COMMON)

    with pytest.raises(UserError, match=r"is of a run with lr 0.001, this one has 0.01: use another checkpoint folder"):
        job.here("--epochs", 2, *COMMON, "--lr", 0.01)


def test_saving_never_leaves_half_a_file(tmp_path, monkeypatch):
    """A process that dies while it writes leaves the checkpoint before."""
    import checkpoints

    values = torch.arange(4.0)
    kept = Checkpoints(tmp_path, {"seed": 1})
    kept.save(values, State.fresh(values))

    def dies(tensors, path, meta):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", dies)
    with pytest.raises(OSError, match="No space"):
        kept.save(values + 1, State.fresh(values))

    _, found = kept.load(values)
    assert torch.equal(found, values)
