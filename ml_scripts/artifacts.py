"""The model artifact: ``model.safetensors``, ``model.json`` and ``code/``, and how to load it again.

The same layout that SageMaker's PyTorch containers serve: what lies under ``code/`` is put on Python's path and
``inference.py`` in it is the entry point. ``code/`` is whole: it runs where only torch, NumPy and Pillow are.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from backbones import KINDS, Classifier
from errors import UserError
from safetensors.torch import load_file, save_file
from vendored import HERE, package_folder

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
INFERENCE_FILES = (
    "inference.py",
    "artifacts.py",
    "backbones.py",
    "decoding.py",
    "errors.py",
    "images.py",
    "precision.py",
    "vendored.py",
)
# torchvision is in every PyTorch image of AWS; these are not.
ALWAYS_VENDORED = ("safetensors",)
NEVER_VENDORED = ("torchvision",)


@dataclass
class Description:
    """The content of ``model.json``; ``mean`` and ``std`` are on the scale 0..1."""

    backbone: str
    head: str
    classes: list[str]
    image_size: int
    mean: list[float]
    std: list[float]
    training: dict[str, object]


def save(folder: Path, classifier: Classifier, description: Description) -> None:
    """Write the artifact into ``folder`` (SM_MODEL_DIR)."""
    folder.mkdir(parents=True, exist_ok=True)
    # contiguous: channels_last windows become plain tensors that any reader of safetensors understands.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(json.dumps(asdict(description), indent=1) + "\n")
    code = folder / "code"
    code.mkdir(exist_ok=True)
    for name in INFERENCE_FILES:
        shutil.copyfile(HERE / name, code / name)
    for package in (*ALWAYS_VENDORED, *KINDS[description.backbone].packages):
        if package not in NEVER_VENDORED:
            target = code / "vendor" / package
            shutil.copytree(
                package_folder(package), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )


def load(folder: Path) -> tuple[Classifier, Description]:
    """The classifier of an artifact, on the CPU, ready to predict.

    Raises:
        UserError: the folder is no artifact of these scripts.
    """
    try:
        description = Description(**json.loads((folder / DESCRIPTION).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder} holds no readable {DESCRIPTION}: {error}") from None
    classifier = Classifier(description.backbone, description.head, len(description.classes), description.image_size)
    try:
        classifier.load_state_dict(load_file(folder / WEIGHTS))
    except Exception as error:
        raise UserError(
            f"{folder / WEIGHTS} does not hold this model's weights: {' '.join(str(error).split())[:200]}"
        ) from None
    for parameter in classifier.parameters():
        parameter.requires_grad_(False)
    return classifier, description


def weights_digest(folder: Path) -> str:
    """What an artifact's weights are told by: the first 16 hexadecimal digits of the SHA-256 of model.safetensors."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def torch_version() -> str:
    """torch's version, for the training record."""
    return torch.__version__
