"""Evaluate a trained model on a test set: the model now in service, say, on the candidate's own pictures.

    python evaluate.py --model FOLDER_WITH_model.tar.gz --test D/test --output-dir O

Channel ``model`` holds ``model.tar.gz`` as a training job left it (or its unpacked content), channel ``test`` one
folder per class. Writes the same ``evaluation.json`` as train.py, but for ``validation``, the same
``predictions.json``, and prints the same two lines.
"""

import tarfile
import tempfile
from pathlib import Path

import vendored

vendored.add_to_path()

import artifacts  # noqa: E402
import evaluation  # noqa: E402
import features  # noqa: E402
import settings  # noqa: E402
import torch  # noqa: E402
from backbones import KINDS  # noqa: E402
from data import class_names, read_split  # noqa: E402
from distributed import Group  # noqa: E402
from errors import UserError, run  # noqa: E402
from images import Normalisation  # noqa: E402
from precision import choose, keep_freed_memory  # noqa: E402

ARCHIVE = "model.tar.gz"


def main(argv: list[str]) -> None:
    """Everything, in order."""
    given = parse(argv)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as unpacked:
        folder = unpack(given.model, Path(unpacked))
        classifier, description = artifacts.load(folder)
        weights = artifacts.weights_digest(folder)
    found = class_names("test", given.test)
    if found != sorted(description.classes):
        differing = sorted(set(found) ^ set(description.classes))
        raise UserError(
            f"channel test has {len(found)} classes and the model {len(description.classes)}; they differ in "
            f"{', '.join(differing[:3])}"
        )
    split = read_split("test", given.test, description.classes)
    group = Group.join(settings.DEFAULT_PEER_TIMEOUT)
    precision = choose(local_rank=group.local_rank)
    precision.place(classifier)
    kind = KINDS[description.backbone]
    normalise = Normalisation(tuple(description.mean), tuple(description.std), precision.device)
    extract = features.Extractor(classifier.backbone, kind.features, normalise, precision)
    views = features.Views(classifier.image_size, 0, 0)
    kept, made, unreadable = features.compute({"test": split}, views, extract, group, lambda: None)
    features.refuse_too_many(unreadable, len(split), given.max_unreadable_share, kept, len(description.classes))
    group.leave()
    if not group.leads:
        return
    with torch.no_grad():
        logits = classifier.head(made["test"].values[0])
    result = evaluation.evaluate(logits, kept["test"], description.classes, unreadable)
    evaluation.announce_unreadable(unreadable)
    print(f"images: test={len(kept['test'])} unreadable={len(unreadable)}", flush=True)
    evaluation.announce(result)
    evaluation.write_json(given.output_dir / "evaluation.json", result)
    predictions = evaluation.predictions(logits, kept["test"], description.classes, weights)
    evaluation.write_json(given.output_dir / "predictions.json", predictions)


def parse(argv: list[str]):
    """Read the command line.

    Raises:
        UserError: a channel or the output folder is missing.
    """
    parser = settings.Parser(description="Evaluate a trained image classifier.", allow_abbrev=False)
    settings.add_folders(parser, ("model", "test"))
    parser.add_argument("--max-unreadable-share", type=settings.number(float, 0, 1), default=0.05)
    given = parser.parse_args(argv)
    settings.require_channel("model", given.model, f"{ARCHIVE} or what it holds")
    settings.require_channel("test", given.test)
    settings.require_folder("output", given.output_dir, "--output-dir", "SM_OUTPUT_DATA_DIR")
    return given


def _only_files(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo | None:
    """No links, which an artifact has no use for: some of Python's releases follow them to outside (CVE-2025-4517)."""
    if not (member.isreg() or member.isdir()):
        raise tarfile.FilterError(f"{member.name!r} is neither a file nor a folder")
    return tarfile.data_filter(member, target)


def unpack(channel: Path, target: Path) -> Path:
    """The folder with the artifact's files: the channel itself, or ``target`` with its archive's content.

    Raises:
        UserError: the archive is missing, damaged, or would write outside ``target``.
    """
    if (channel / artifacts.DESCRIPTION).is_file():
        return channel
    archive = channel / ARCHIVE
    if not archive.is_file():
        raise UserError(f"channel model ({channel}) holds neither {ARCHIVE} nor {artifacts.DESCRIPTION}")
    try:
        with tarfile.open(archive) as file:
            file.extractall(target, filter=_only_files)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{archive} cannot be unpacked: {error}") from None
    return target


if __name__ == "__main__":
    run(main)
