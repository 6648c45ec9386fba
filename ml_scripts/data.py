"""The data set as it lies in the channels: one folder per class, the same classes in every split."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from errors import UserError


@dataclass
class Split:
    """The files of one split; ``labels[i]`` is the index of the class of ``files[i]`` (relative to ``root``)."""

    name: str
    root: Path
    files: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.files)

    def named(self, index: int) -> str:
        """How messages and reports call a file: ``train/003.Foo/x.jpg``."""
        return f"{self.name}/{self.files[index]}"

    def keep(self, indices: list[int]) -> "Split":
        """The same split with these files only."""
        return Split(self.name, self.root, [self.files[i] for i in indices], [self.labels[i] for i in indices])


def class_names(split: str, root: Path) -> list[str]:
    """The class folders of a split, sorted by name.

    Raises:
        UserError: there is none.
    """
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise UserError(
            f"channel {split} ({root}) holds no class folder; it must hold one folder of pictures per class"
        )
    return names


def read_split(name: str, root: Path, classes: list[str]) -> Split:
    """List a split, files sorted by name, hidden files left out.

    Raises:
        UserError: the class folders are not exactly ``classes``, or one of them is empty.
    """
    found = class_names(name, root)
    if found != classes:
        missing = [label for label in classes if label not in found]
        extra = [label for label in found if label not in classes]
        differences = [f"lacks {', '.join(missing[:3])}"] if missing else []
        differences += [f"has {', '.join(extra[:3])} besides"] if extra else []
        raise UserError(
            f"channel {name} {' and '.join(differences)} ({len(found)} classes instead of {len(classes)}): "
            "every split must have the same class folders"
        )
    files, labels = [], []
    for label, folder in enumerate(classes):
        pictures = sorted(_files_below(root, root / folder))
        if not pictures:
            raise UserError(f"class folder {name}/{folder} is empty; every class needs at least one picture per split")
        files += pictures
        labels += [label] * len(pictures)
    return Split(name, root, files, labels)


def read_splits(train: Path, valid: Path, test: Path) -> tuple[list[str], dict[str, Split]]:
    """Classes (from ``train``) and the three splits."""
    classes = class_names("train", train)
    if len(classes) < 2:
        raise UserError(f"channel train holds the single class {classes[0]}; a classifier needs at least two")
    roots = {"train": train, "valid": valid, "test": test}
    return classes, {name: read_split(name, root, classes) for name, root in roots.items()}


def listing_digest(splits: dict[str, Split]) -> str:
    """A digest of every file's name: equal on every instance that was given the same data."""
    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update("\n".join([name, *split.files]).encode())
    return digest.hexdigest()


def _files_below(root: Path, folder: Path) -> list[str]:
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [(Path(where) / name).relative_to(root).as_posix() for name in names if not name.startswith(".")]
    return found
