"""Hyperparameters and folders: what is accepted, and the sentence for what is not."""

import pytest
import settings
from errors import UserError


@pytest.fixture
def environ(tmp_path):
    """What SageMaker's toolkit sets."""
    for name in ("train", "valid", "test", "pretrained", "model"):
        (tmp_path / name).mkdir()
    channels = {f"SM_CHANNEL_{name.upper()}": str(tmp_path / name) for name in ("train", "valid", "test", "pretrained")}
    return channels | {"SM_MODEL_DIR": str(tmp_path / "model"), "SM_OUTPUT_DATA_DIR": str(tmp_path / "output/data")}


def test_the_defaults(environ, tmp_path):
    found = settings.parse([], environ)

    assert (found.backbone, found.finetune, found.head, found.pretrained) == (
        "efficientnet_lite0",
        "head",
        "hidden",
        True,
    )
    assert (found.epochs, found.lr, found.batch_size, found.seed, found.augment_views) == (10, 0.001, 32, 0, 0)
    assert found.train == tmp_path / "train"
    assert found.checkpoint_dir is None


def test_checkpoints_beside_the_model_folder_are_used_if_the_job_has_them(environ, tmp_path):
    (tmp_path / "checkpoints").mkdir()

    assert settings.parse([], environ).checkpoint_dir == tmp_path / "checkpoints"


@pytest.mark.parametrize(("text", "value"), [("True", True), ("false", False), ("1", True), ("no", False)])
def test_booleans_as_the_toolkit_passes_them(environ, text, value):
    assert settings.parse(["--pretrained", text], environ).pretrained is value


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--backbone", "vgg"], r"argument --backbone: invalid choice: 'vgg' \(choose from .*resnet18"),
        (["--epochs", "0"], r"argument --epochs: '0' is not an integer at least 1"),
        (["--epochs", "many"], r"argument --epochs: 'many' is not an integer"),
        (["--lr", "0"], r"argument --lr: '0' is not a number above 0 and at most 10"),
        (["--lr", "nan"], r"argument --lr: 'nan'"),
        (["--max-unreadable-share", "2"], r"'2' is not a number at least 0 and at most 1"),
        (["--pretrained", "maybe"], r"argument --pretrained: 'maybe' is neither true nor false"),
        (["--colour", "red"], r"unrecognized arguments: --colour red"),
    ],
)
def test_mistakes_are_named(environ, argv, sentence):
    with pytest.raises(UserError, match=sentence):
        settings.parse(argv, environ)


def test_a_missing_channel_is_named(environ):
    del environ["SM_CHANNEL_VALID"]

    with pytest.raises(UserError, match=r"channel valid is missing: .* input channel of that name.* --valid FOLDER"):
        settings.parse([], environ)


def test_a_missing_model_folder_is_named(environ):
    del environ["SM_MODEL_DIR"]

    with pytest.raises(UserError, match=r"the model folder is not known: set --model-dir .* SM_MODEL_DIR"):
        settings.parse([], environ)
