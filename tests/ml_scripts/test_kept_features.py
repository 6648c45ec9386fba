"""Features survive an interruption: what was computed is taken, the rest computed, and nothing comes out different."""

import errno
import re
import shutil
import signal
import time

import features
import kept_features
import pytest
import torch
from data import read_splits
from distributed import Group
from errors import STOPPED_STATUS, Stopped
from features import Extractor, Views
from images import Normalisation
from kept_features import KeptFeatures
from precision import Precision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training import Stop

from tests.ml_scripts.conftest import SCRIPTS, Job

COMMON = ("--epochs", 1, "--augment-views", 5, "--batch-size", 8, "--precision", "float32")
VIEWS = 24 * 6 + 9 + 9
TAKEN = re.compile(rf"^features: (\d+) of {VIEWS} views taken from the checkpoint$", re.MULTILINE)
MADE = re.compile(r"^features: (\d+) views in [0-9.]+ s on (\d+) process\(es\)$", re.MULTILINE)


@pytest.fixture
def often(tmp_path):
    """train.py, with a file for each batch's features and a pause behind it: there are few pictures in a test, and a
    busy machine takes its time to interrupt."""
    script = tmp_path / "often.py"
    script.write_text(
        f"import runpy, sys, time\nsys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import kept_features\nkept_features.LONGEST_SECONDS = 0\n"
        "write = kept_features.KeptFeatures.write\n"
        "kept_features.KeptFeatures.write = lambda self: (write(self), time.sleep(0.5))\n"
        f"runpy.run_path({str(SCRIPTS / 'train.py')!r}, run_name='__main__')\n"
    )
    return script


def written(folder, rank=0):
    return sorted(folder.glob(f"features-*-{rank}-*.safetensors"))


def wait_for_files(folder, count, processes, ranks=(0,)):
    """Until each rank has written some files; the processes must still be running then."""
    deadline = time.monotonic() + 60
    while any(len(written(folder, rank)) < count for rank in ranks):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, pictures, weights):
    """The head that an uninterrupted run trains."""
    job = Job(tmp_path_factory.mktemp("uninterrupted"), pictures, weights)
    job.here(*COMMON)
    return load_file(job.model / "model.safetensors")


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["notice", "killed"])
def test_an_interrupted_extraction_goes_on_and_ends_with_the_same_model(job, often, uninterrupted, capsys, end):
    # GIVEN a job that is computing features
    job.checkpoints.mkdir()
    process = job.start(*COMMON, script=often)
    wait_for_files(job.checkpoints, 3, [process])

    # WHEN it is interrupted, with notice or without
    process.send_signal(end)
    printed, complaints = process.communicate(timeout=120)

    # THEN it ends before its first epoch, and with notice it says what it kept
    assert "epoch=" not in printed
    if end == signal.SIGTERM:
        assert process.returncode == STOPPED_STATUS
        said = re.fullmatch(
            rf"stopped: SIGTERM came while features were computed; (\d+) views of this process are kept in "
            rf"{re.escape(str(job.checkpoints))}\n",
            complaints,
        )
    kept = sum(len(load_file(path)["samples"]) for path in written(job.checkpoints))
    assert 0 < kept < VIEWS
    if end == signal.SIGTERM:
        assert int(said[1]) == kept

    # AND the next start takes them, computes the rest, and trains the same model to the last bit
    capsys.readouterr()
    job.here(*COMMON)
    printed = capsys.readouterr().out
    assert int(TAKEN.search(printed)[1]) == kept
    assert int(MADE.search(printed)[1]) == VIEWS - kept
    assert equal(load_file(job.model / "model.safetensors"), uninterrupted)

    # AND one after that has nothing left to compute
    job.here(*COMMON)
    printed = capsys.readouterr().out
    assert int(TAKEN.search(printed)[1]) == VIEWS
    assert int(MADE.search(printed)[1]) == 0


def test_each_process_keeps_its_own(job, ranks, often, uninterrupted):
    job.checkpoints.mkdir()
    processes = ranks(job, 2, *COMMON, script=often)
    wait_for_files(job.checkpoints, 2, processes, ranks=(0, 1))
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        _, complaints = process.communicate(timeout=120)
        assert process.returncode == STOPPED_STATUS, complaints
    kept = [sum(len(load_file(path)["samples"]) for path in written(job.checkpoints, rank)) for rank in (0, 1)]
    assert all(kept)

    first, second = ranks(job, 2, *COMMON)
    printed, complaints = first.communicate(timeout=300)
    assert first.returncode == 0, complaints
    assert second.communicate(timeout=120)[0] == ""
    assert int(TAKEN.search(printed)[1]) == sum(kept)
    assert [int(number) for number in MADE.search(printed).groups()] == [VIEWS - sum(kept), 2]
    for name, tensor in load_file(job.model / "model.safetensors").items():
        torch.testing.assert_close(tensor, uninterrupted[name], rtol=1e-2, atol=1e-3)


def test_without_a_checkpoint_folder_nothing_is_kept(job, monkeypatch, capsys):
    import train

    job.here("--epochs", 1)
    assert not list(job.base.rglob("features-*"))
    assert "taken from" not in capsys.readouterr().out

    monkeypatch.setattr(train, "Stop", lambda: Stop(requested=True))
    with pytest.raises(Stopped, match="SIGTERM came before the first epoch; nothing to save yet"):
        job.here("--epochs", 1)


def test_jobs_that_share_a_folder_share_features_and_nothing_else(job, monkeypatch, capsys):
    # GIVEN two trials of a tuning job with one checkpoint folder
    job.checkpoints.mkdir()
    shared = ("--epochs", 1, "--checkpoint-per-job", "true")
    monkeypatch.setenv("TRAINING_JOB_NAME", "tune-001")
    job.here(*shared, "--lr", 0.1)

    monkeypatch.setenv("TRAINING_JOB_NAME", "tune-002")
    job.here(*shared, "--lr", 0.01)

    assert "features: 42 of 42 views taken from the checkpoint" in capsys.readouterr().out
    assert {path.parent.name for path in job.checkpoints.rglob("checkpoint.safetensors")} == {"tune-001", "tune-002"}


# From here on without a network: a "backbone" that is a sum, which shows every pixel and every order of batches.


class Sums(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, pictures):
        self.batches.append(len(pictures))
        return pictures.flatten(1)[:, :1920].reshape(len(pictures), 5, -1).sum(2)


class StopAfter:
    """Stands for SIGTERM after some forward passes."""

    def __init__(self, passes):
        self.left = passes

    def __call__(self):
        self.left -= 1
        if self.left < 0:
            raise Stopped("")


@pytest.fixture
def splits(tmp_path, pictures):
    """The sample pictures, one of which is none."""
    copied = shutil.copytree(pictures, tmp_path / "copied")
    sorted((copied / "train").rglob("*.jpg"))[5].write_text("not a picture")
    return read_splits(copied / "train", copied / "valid", copied / "test")[1]


RUN = {"seed": 1}
MANY = 10**6


def compute(splits, kept, passes=MANY):
    """All features, in a dict by split, and the batches it took."""
    backbone = Sums()
    mean, device = (0.5, 0.5, 0.5), torch.device("cpu")
    extract = Extractor(backbone, 5, Normalisation(mean, mean, device), Precision(device, None))
    found = features.compute(splits, Views(32, 2, 1), extract, Group(), StopAfter(passes), kept)[1]
    return {name: each.values for name, each in found.items()}, backbone.batches


@pytest.mark.parametrize("passes", [0, 1, 4, 8, 9, 10, 11])
def test_an_interruption_after_any_batch_changes_nothing(tmp_path, splits, passes):
    # GIVEN what an uninterrupted start computes, and in which batches
    expected, batches = compute(splits, KeptFeatures(None))

    # WHEN it is interrupted after some batches and continued
    kept = KeptFeatures(tmp_path / "c", run=RUN)
    with pytest.raises(Stopped):
        compute(splits, kept, passes)
    kept.write()
    found, rest = compute(splits, KeptFeatures(tmp_path / "c", run=RUN))

    # THEN the features and the batches that were left are the same
    assert equal(expected, found)
    assert rest == batches[passes:]


def test_a_picture_that_has_become_unreadable_is_left_out(tmp_path, splits):
    compute(splits, KeptFeatures(tmp_path / "c", run=RUN))
    for path in (tmp_path / "c").glob("features-train-*"):
        path.unlink()
    (splits["train"].root / splits["train"].files[0]).write_text("not a picture")

    found, _ = compute(splits, KeptFeatures(tmp_path / "c", run=RUN))

    assert found["train"].shape == (3, 22, 5)


def test_a_file_stays_small(tmp_path, splits, monkeypatch):
    monkeypatch.setattr(kept_features, "MOST_BYTES", 16 * 5 * 4)

    compute(splits, KeptFeatures(tmp_path / "c", run=RUN))

    sizes = {path.name: len(load_file(path)["samples"]) for path in written(tmp_path / "c")}
    assert sizes == {f"features-train-0-{n}.safetensors": 16 if n < 4 else 5 for n in range(5)} | {
        "features-valid-0-0.safetensors": 9,
        "features-test-0-0.safetensors": 9,
    }


def damaged(path):
    path.write_bytes(path.read_bytes()[:-4])


def of_another_split(path):
    save_file({"samples": torch.tensor([3]), "values": torch.zeros(1, 7)}, path, {"run": '{"seed": 1}'})


def out_of_range(path):
    save_file({"samples": torch.tensor([500]), "values": torch.zeros(1, 5)}, path, {"run": '{"seed": 1}'})


def no_numbers(path):
    save_file({"samples": torch.tensor([3]), "values": torch.full((1, 5), torch.nan)}, path, {"run": '{"seed": 1}'})


def text(path):
    path.write_text("features")


def nothing(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [damaged, of_another_split, out_of_range, no_numbers, text, nothing])
def test_a_wrong_file_is_ignored_with_a_line_and_written_anew(tmp_path, splits, capsys, spoil):
    folder = tmp_path / "c"
    expected, _ = compute(splits, KeptFeatures(folder, run=RUN))
    wrong = folder / "features-train-0-0.safetensors"
    spoil(wrong)
    capsys.readouterr()

    found, batches = compute(splits, KeptFeatures(folder, run=RUN))

    assert re.fullmatch(rf"ignored {re.escape(str(wrong))}: .+\nfeatures: 18 of .+\n", capsys.readouterr().out)
    assert equal(expected, found)
    assert sum(batches) == 3 * 23
    assert len(load_file(wrong)["samples"]) == 3 * 23


def test_features_of_another_run_are_removed_and_those_of_other_processes_left_alone(tmp_path, splits, capsys):
    # GIVEN the files of another run, of which another process of this one wrote some, and half a file
    folder = tmp_path / "c"
    compute(splits, KeptFeatures(folder, run={"seed": 2}))
    one = folder / "features-valid-0-0.safetensors"
    for rank in (1, 2):
        shutil.copy(one, folder / f"features-valid-{rank}-0.safetensors")
    (folder / "features-valid-0-1.safetensors.partial").write_bytes(b"half")
    (folder / "checkpoint.safetensors").write_bytes(b"mine")

    # WHEN process 0 of two starts
    kept = KeptFeatures(folder, 0, 2, RUN)
    done = kept.take(splits["valid"], torch.zeros(1, 9, 5))

    # THEN it takes nothing, and clears away what nobody will take
    assert not done.any()
    assert f"removed 2 files of another run's features of valid in {folder}" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors",
        "features-test-0-0.safetensors",
        "features-train-0-0.safetensors",
        "features-valid-1-0.safetensors",
    ]


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("way", ["writing", "space"])
def test_a_full_disk_costs_the_features_and_not_the_job(tmp_path, splits, capsys, monkeypatch, way):
    expected, _ = compute(splits, KeptFeatures(None))
    if way == "writing":
        monkeypatch.setattr(kept_features, "save_file", full)
    else:
        monkeypatch.setattr(kept_features, "FREE_BYTES", 1 << 60)

    found, _ = compute(splits, KeptFeatures(tmp_path / "c", run=RUN))

    printed = capsys.readouterr().out
    assert printed.count("features are not kept from here on") == printed.count("\n") == 1
    assert equal(expected, found)
    assert list((tmp_path / "c").iterdir()) == []


def test_a_file_says_which_run_it_is_of(job):
    job.checkpoints.mkdir()
    job.here("--epochs", 1)

    with safe_open(written(job.checkpoints)[0], "pt") as file:
        run = file.metadata()["run"]
    for part in ('"backbone": "efficientnet_lite0"', '"image-size": 48', '"processes": 1', '"weights"', '"data"'):
        assert part in run
