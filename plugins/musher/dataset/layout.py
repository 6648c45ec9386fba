"""Whether a data set is laid out as training needs it: train/, valid/ and test/, each with one folder per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musher.dataset.listing import SPLITS, Item, Listing
from musher.dataset.picture import HEAD_BYTES, is_picture
from musher.errors import DatasetError

_EXPECTED = 'Expected train/, valid/ and test/, each with one folder per class (see README, "Your own pictures").'
_NAMED = 10  # how many names a message spells out


def no_images_in_folder(root: Path, paths: Collection[str], workers: int = 8) -> list[str]:
    """The paths below a local folder whose files are no images."""

    def bad(path: str) -> bool:
        with (root / path).open("rb") as file:
            return not is_picture(file.read(HEAD_BYTES))

    return _filter(bad, paths, workers)


def no_images_on_s3(client: Any, bucket: str, prefix: str, paths: Collection[str], workers: int = 16) -> list[str]:
    """The paths under an S3 prefix whose objects are no images; reads the first 16 bytes of each."""

    def bad(path: str) -> bool:
        answer = client.get_object(Bucket=bucket, Key=prefix + path, Range=f"bytes=0-{HEAD_BYTES - 1}")
        return not is_picture(answer["Body"].read())

    return _filter(bad, paths, workers)


def _filter(bad: Any, paths: Collection[str], workers: int) -> list[str]:
    with ThreadPoolExecutor(workers) as pool:
        return [path for path, flag in zip(paths, pool.map(bad, paths), strict=True) if flag]


@dataclass(frozen=True)
class Layout:
    """What the check found: the classes in order, the number of files per split, the files that count, those that do
    not (they lie outside any class folder)."""

    classes: tuple[str, ...]
    images: dict[str, int]
    items: tuple[Item, ...]
    ignored: tuple[str, ...]


def check(listing: Listing) -> Layout:
    """The layout of a data set whose paths begin with train/, valid/ or test/.

    Raises DatasetError with one sentence, or two, on the first thing that is wrong: a missing split, classes that
    differ between splits, a class without a file, fewer than two classes.
    """
    _check_splits(listing)
    classes = {split: _classes(listing, split) for split in SPLITS}
    every = sorted(set().union(*classes.values()))
    lacking = {split: [name for name in every if name not in classes[split]] for split in SPLITS}
    if any(lacking.values()):
        parts = [f"{split}/ has no {names(missing)}" for split, missing in lacking.items() if missing]
        raise DatasetError(f"the classes differ between the splits: {'; '.join(parts)}. {_EXPECTED}")
    in_class = tuple(i for i in listing.items if i.path.count("/") >= 2 and i.path.split("/")[0] in SPLITS)
    counted = Counter(tuple(item.path.split("/")[:2]) for item in in_class)
    empty = [f"{split}/{name}" for split in SPLITS for name in every if not counted[split, name]]
    if empty:
        raise DatasetError(f"{names(empty)} {'has' if len(empty) == 1 else 'have'} no picture. {_EXPECTED}")
    if len(every) < 2:
        raise DatasetError(f"the data set has {len(every)} class ({names(every)}); a classifier needs at least two.")
    images = {split: sum(n for (of, _), n in counted.items() if of == split) for split in SPLITS}
    kept = {item.path for item in in_class}
    ignored = tuple(item.path for item in listing.items if item.path not in kept)
    return Layout(tuple(every), images, in_class, ignored)


def _check_splits(listing: Listing) -> None:
    missing = [split for split in SPLITS if split not in listing.folders]
    if missing:
        top = listing.top()
        found = f"Found at the top: {names(top)}." if top else "Found nothing there."
        what = " and no ".join(f"`{split}/`" for split in missing)
        raise DatasetError(f"the data set has no {what} folder. {found} {_EXPECTED}")
    bare = [split for split in SPLITS if not _classes(listing, split)]
    if bare:
        raise DatasetError(f"{bare[0]}/ has no class folder. {_EXPECTED}")


def _classes(listing: Listing, split: str) -> set[str]:
    prefix = split + "/"
    return {folder.split("/")[1] for folder in listing.folders if folder.startswith(prefix)}


def names(values: Iterable[str]) -> str:
    """The values in a row, the first ten spelled out and the others counted."""
    values = list(values)
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(values[:_NAMED]) + more


def check_unreadable(unreadable: Collection[str], total: int, max_share: float) -> None:
    """Raise DatasetError when more than `max_share` of `total` files are no images; names the first ten."""
    if unreadable and len(unreadable) > max_share * total:
        raise DatasetError(
            f"{len(unreadable)} of {total} files are no images, "
            f"which is more than max_unreadable_share, {max_share:g}, allows: {names(unreadable)}."
        )
