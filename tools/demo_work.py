"""How much the demo lets each training do, so that a second instance is worth its start with anybody's pictures.

What instances share is the forward passes, one for each view of a picture. A few hundred pictures are over sooner than
an instance has started, so they get altered views on top; many pictures are work enough as they are.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

# Forward passes over the training pictures, at about 150 a second on one core.
TRAINING_VIEWS = 3600
MOST_VIEWS = 24
# For pictures that nobody has counted yet, since they lie behind an address.
VIEWS_UNSEEN = 3

# Smaller than the DAG's own defaults: a demo shows every step, and a laptop's two cores stand in for all instances.
PARAMS: dict[str, Any] = {"max_jobs": 3, "max_parallel_jobs": 2, "tuning_epochs": 3, "epochs": 8, "paths": "both"}


def params(dataset: str) -> dict[str, Any]:
    """The DAG's params for a data set: a folder, an archive, or an address."""
    return {**PARAMS, "augment_views": extra_views(training_pictures(dataset))}


def extra_views(pictures: int | None) -> int:
    """Altered views of each training picture, beside the picture itself."""
    if pictures is None:
        return VIEWS_UNSEEN
    return min(MOST_VIEWS, max(0, round(TRAINING_VIEWS / max(1, pictures)) - 1))


def training_pictures(dataset: str) -> int | None:
    """About how many files there are to train on, by their names alone; None where only a download could tell.

    What is wrong with the data set is said by the task that reads it, not here.
    """
    path = Path(dataset)
    try:
        if path.is_dir():
            return _count(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _count(archive.namelist())
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                return _count(each.name for each in archive if each.isfile())
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError):
        pass
    return None


def _count(names: Iterable[str]) -> int:
    """Files in a folder of their class within `train`."""
    parts = (PurePosixPath(name).parts for name in names if not name.endswith("/"))
    return sum("train" in each[:-2] for each in parts)
