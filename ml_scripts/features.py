"""Features of a frozen backbone, computed once per picture and view instead of once per epoch.

Training a head needs the backbone's output only. As long as the backbone does not change, that output is a constant
of the picture (and of the augmented view of it), so a job computes it once, spread over its processes, and every
epoch after that costs milliseconds.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from data import Split
from decoding import UnreadableImage, open_image
from distributed import Group
from errors import UserError
from images import Normalisation, central_view, decode_size, random_view
from kept_features import KeptFeatures
from precision import Precision
from profiling.clock import CHECKPOINT, CLOCK, FEATURES, TRANSFER

# Pictures per forward pass. A CPU gains nothing from more than eight (158 pictures a second on one thread, 154 in
# batches of 64; EfficientNet-Lite0, bfloat16), and where freed memory is not kept it loses much. A GPU wants many.
CPU_BATCH, GPU_BATCH = 8, 256
# Pictures per process between two gatherings: few enough that a dead process is noticed within seconds and that no
# process waits for a slow one longer than the group's time limit.
ROUND = 32


@dataclass
class Views:
    """How pictures are seen: size in pixels, extra random views per training picture, and the seed of those."""

    size: int
    extra: int
    seed: int

    def of(self, split: Split, index: int, numbers: range | list[int], epoch: int = 0) -> list[torch.Tensor]:
        """Some views of a picture, decoded once; view 0 is the central one. uint8 (size, size, 3) each.

        A random view depends on the seed, the file's name, its number and the epoch only: not on the process that
        makes it, nor on what was made before.
        """
        with CLOCK.decoding():
            image = open_image(split.root / split.files[index], decode_size(self.size, self.extra), CLOCK.open)
            made = []
            for number in numbers:
                if number == 0:
                    made.append(central_view(image, self.size))
                else:
                    chance = random.Random(f"{self.seed}/{split.named(index)}/{number}/{epoch}")
                    made.append(random_view(image, self.size, chance))
            return made


@dataclass
class Features:
    """A split's features, float32 (views, pictures, width) on the device, and its labels (pictures,)."""

    values: torch.Tensor
    labels: torch.Tensor


@dataclass
class Unreadable:
    """A file that is no picture; ``file`` as ``train/003.Foo/x.jpg``."""

    file: str
    reason: str


@dataclass
class Extractor:
    """The frozen backbone, ready to be fed with pixels; ``width`` is the number of features it gives."""

    backbone: torch.nn.Module
    width: int
    normalise: Normalisation
    precision: Precision

    @property
    def batch(self) -> int:
        """Pictures per forward pass."""
        return GPU_BATCH if self.precision.device.type == "cuda" else CPU_BATCH

    def __call__(self, pixels: list[torch.Tensor]) -> torch.Tensor:
        """uint8 pictures (size, size, 3) to float32 features (N, width)."""
        with torch.no_grad(), self.precision.context():
            with CLOCK.of(TRANSFER):
                inputs = self.normalise(torch.stack(pixels))
            with CLOCK.of(FEATURES):
                return self.backbone(inputs).float()


def compute(
    splits: dict[str, Split],
    views: Views,
    extract: Extractor,
    group: Group,
    check_stop: Callable[[], None],
    kept: KeptFeatures | None = None,
) -> tuple[dict[str, Split], dict[str, Features], list[Unreadable]]:
    """Every split's features on every rank, each picture computed by one of them, unless ``kept`` has them already.

    Random views are made of split ``train`` only. ``check_stop`` is called between forward passes and may raise.

    Returns:
        The splits without unreadable files, their features, and the unreadable files.
    """
    kept = kept or KeptFeatures(None)
    CLOCK.work()
    readable_splits, features, unreadable = {}, {}, []
    width = extract.width
    views_of = {name: 1 + (views.extra if name == "train" else 0) for name in splits}
    all_values = {
        name: torch.zeros(views_of[name], len(split), width, device=extract.precision.device)
        for name, split in splits.items()
    }
    done = {name: kept.take(split, all_values[name]) for name, split in splits.items()}
    kept.taken = sum(group.gather_objects(kept.saved, "what was kept"))
    if kept.taken and group.leads:
        total = sum(views_of[name] * len(split) for name, split in splits.items())
        print(f"features: {kept.taken} of {total} views taken from the checkpoint", flush=True)
    for name, split in splits.items():
        values = all_values[name]
        readable: list[int] = []
        for indices in _rounds(split, group):
            mine = indices[group.rank :: group.world]
            rows, lost = _round(split, mine, values, done[name], views, extract, check_stop, kept)
            unreadable += lost
            for rank, part in enumerate(group.gather(rows, "the features")):
                theirs = indices[rank :: group.world]
                values[:, list(theirs)] = part[:, : len(theirs), :width]
                flags = part[0, : len(theirs), width].tolist()
                readable += [index for index, flag in zip(theirs, flags, strict=True) if flag]
        with CLOCK.of(CHECKPOINT):
            kept.write()
        readable_splits[name], features[name] = _without_unreadable(split, values, sorted(readable))
    unreadable = [item for part in group.gather_objects(unreadable, "the unreadable files") for item in part]
    return readable_splits, features, sorted(unreadable, key=lambda item: item.file)


def _rounds(split: Split, group: Group) -> list[range]:
    """The pictures of each round; every rank takes every ``group.world``-th of them."""
    step = ROUND * group.world
    return [range(start, min(start + step, len(split))) for start in range(0, len(split), step)]


def _round(split, indices, values, done, views, extract, check_stop, kept) -> tuple[torch.Tensor, list[Unreadable]]:
    """One rank's share of a round: rows (views, ROUND, width + 1), the last column 1 for a readable picture.

    ``values`` has the features of what is ``done``; those made here are handed to ``kept``. Pictures fall into the same
    batches wherever an earlier start was interrupted, so that they come out the same to the last bit.
    """
    numbers = range(len(values))
    rows = torch.zeros(len(numbers), ROUND, extract.width + 1, device=values.device)
    if done[:, list(indices)].any():
        rows[:, : len(indices), : extract.width] = values[:, list(indices)]
    unreadable: list[Unreadable] = []
    pending: list[tuple[int, int, torch.Tensor | None]] = []

    def flush(at_least: int) -> None:
        while len(pending) >= at_least:
            check_stop()
            now = [each for each in pending[: extract.batch] if each[2] is not None]
            del pending[: extract.batch]
            if now:
                made = extract([pixels for _, _, pixels in now])
                rows[[number for number, _, _ in now], [place for _, place, _ in now], : extract.width] = made
                kept.add(split, [number * len(split) + indices[place] for number, place, _ in now], made)

    for place, index in enumerate(indices):
        wanted = (~done[:, index]).nonzero().flatten().tolist()
        try:
            seen = dict(zip(wanted, views.of(split, index, wanted), strict=True)) if wanted else {}
        except UnreadableImage as error:
            unreadable.append(Unreadable(split.named(index), str(error)))
            continue
        rows[:, place, extract.width] = 1
        pending += [(number, place, seen.get(number)) for number in numbers]
        flush(extract.batch)
    flush(1)
    return rows, unreadable


def _without_unreadable(split: Split, values: torch.Tensor, readable: list[int]) -> tuple[Split, Features]:
    if len(readable) < len(split):
        split, values = split.keep(readable), values[:, readable]
    return split, Features(values, torch.tensor(split.labels, dtype=torch.long, device=values.device))


def check_pictures(
    splits: dict[str, Split], views: Views, group: Group, check_stop: Callable[[], None]
) -> tuple[dict[str, Split], list[Unreadable]]:
    """Decode every picture once, shared out over the ranks, and leave out what is none.

    For training that reads the pictures themselves every epoch: it must know beforehand how many there are.
    """
    CLOCK.work()
    kept, unreadable = {}, []
    for name, split in splits.items():
        bad: set[int] = set()
        for indices in _rounds(split, group):
            lost = []
            for index in indices[group.rank :: group.world]:
                check_stop()
                try:
                    with CLOCK.decoding():
                        open_image(split.root / split.files[index], views.size, CLOCK.open)
                except UnreadableImage as error:
                    lost.append((index, str(error)))
            for index, reason in (item for part in group.gather_objects(lost, "the check") for item in part):
                bad.add(index)
                unreadable.append(Unreadable(split.named(index), reason))
        kept[name] = split.keep([index for index in range(len(split)) if index not in bad]) if bad else split
    return kept, sorted(unreadable, key=lambda item: item.file)


def refuse_too_many(
    unreadable: list[Unreadable], files: int, share: float, kept: dict[str, Split], classes: int
) -> None:
    """Raise a :class:`UserError` if more than ``share`` of the files are unreadable, or a class has none left."""
    if unreadable and len(unreadable) > share * files:
        first = unreadable[0]
        raise UserError(
            f"{len(unreadable)} of {files} files ({len(unreadable) / files:.1%}) are no readable pictures, more than "
            f"--max-unreadable-share {share} allows; the first is {first.file} ({first.reason})"
        )
    for split in kept.values():
        if len(set(split.labels)) < classes:
            raise UserError(f"channel {split.name} has a class without a single readable picture; see the lines above")


class Cached:
    """A data source for training: features computed beforehand. A sample is (view, picture).

    Every rank has all of them, so each takes whole batches by itself: a step of a head is a fraction of a millisecond,
    and exchanging its gradient takes ten times as long.
    """

    everywhere = True

    def __init__(self, features: dict[str, Features]):
        self.features = features

    def samples(self, name: str) -> int:
        """Number of samples: pictures times views."""
        return self.features[name].values.shape[0] * self.features[name].values.shape[1]

    def stream(self, name: str, batches: list[torch.Tensor], epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(inputs, labels) for each batch of sample numbers."""
        split = self.features[name]
        values = split.values.flatten(0, 1)
        for batch in batches:
            CLOCK.to(TRANSFER)
            chosen = batch.to(values.device)
            yield values[chosen], split.labels[chosen % len(split.labels)]
