"""What the network is fed: how pictures come out of the normalisation, and which of them are there twice."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from data import Split
from images import Normalisation

from diagnostics.statistics import Inputs

# Every so many pixels along each side: neighbours say the same.
STRIDE = 8
HEAD_BYTES = 4096


class WatchedNormalisation:
    """A :class:`Normalisation` that adds up what it makes, by colour, and says that something moved."""

    def __init__(self, normalise: Normalisation, moved: Callable[[], None]):
        self._normalise, self._moved = normalise, moved
        self.shift = normalise.shift
        self.pictures = 0
        colours, device = normalise.shift.shape[1], normalise.shift.device
        # Rows: numbers, their sum, the sum of their squares; a column a colour.
        self._sums = torch.zeros(3, colours, dtype=torch.double, device=device)
        self._ends = torch.full((2, colours), math.inf, device=device)  # the minimum, and that of the negative numbers

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        made = self._normalise(pixels)
        self._moved()
        self.pictures += len(made)
        some = made[:, :, ::STRIDE, ::STRIDE].transpose(0, 1).flatten(1)
        low, high = some.aminmax(dim=1)
        self._ends = torch.minimum(self._ends, torch.stack([low, -high]))
        some = some.double()
        self._sums[0] += some.shape[1]
        self._sums[1] += some.sum(1)
        self._sums[2] += some.square().sum(1)
        return made

    def totals(self) -> tuple[int, torch.Tensor, torch.Tensor]:
        """The number of pictures, the sums and the ends, on the CPU."""
        return self.pictures, self._sums.cpu(), self._ends.cpu()


def described(parts: list[tuple[int, torch.Tensor, torch.Tensor]]) -> Inputs:
    """What several processes saw."""
    pictures, sums = sum(each[0] for each in parts), torch.stack([each[1] for each in parts]).sum(0)
    if not pictures:
        return Inputs(0, [], [], [], [])
    mean = sums[1] / sums[0]
    deviation = (sums[2] / sums[0] - mean.square()).clamp(min=0).sqrt()
    low, high = torch.stack([each[2] for each in parts]).amin(0)
    return Inputs(pictures, mean.tolist(), deviation.tolist(), low.tolist(), (-high).tolist())


def leaked(train: Split, valid: Split, rank: int = 0, world: int = 1) -> list[str]:
    """The validation pictures whose file is, byte for byte, that of a training picture; of every ``world``-th one."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in train.files:
        by_size[(train.root / file).stat().st_size].append(train.root / file)
    found = []
    for index in range(rank, len(valid), world):
        path = valid.root / valid.files[index]
        # Few bytes of those of the same size, all bytes of hardly any.
        alike = [other for other in by_size.get(path.stat().st_size, ()) if _head(other) == _head(path)]
        if any(_digest(other) == _digest(path) for other in alike):
            found.append(valid.named(index))
    return found


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
