"""Takes the statistics of a sampled step: of gradients, weights and updates, and of what activation functions get.

Hooks are there during a sampled step only, everything stays on the device until one copy at the end of it, and of large
activations a part is looked at. So a step that is not sampled costs a comparison.
"""

import contextlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from diagnostics.statistics import Activation, Parameter, Sample

# The first steps say how the weights were initialised; after them a twelfth of the training lies between two samples,
# and at least a hundred steps of a head, since such a step takes but a millisecond. AWS saves every 500th.
FIRST = (1, 3, 10)
SHARE, LONGEST = 12, 500
SHORTEST = {"head": 100, "all": 10}
# A rule sees the first samples and the newest ones, however long a training is.
KEPT = 24
# Of each activation at most so many pictures, and so many places along each side of them.
PICTURES, PLACES = 8, 4
# Of each tensor at most so many numbers.
NUMBERS = 1024

KINDS: dict[type[nn.Module], str] = {nn.ReLU: "ReLU", nn.ReLU6: "ReLU", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
Limits = dict[str, tuple[float, float]]


def interval(planned: int, trained: str) -> int:
    """How many steps from one sampled step to the next, in a training of ``planned`` steps."""
    return min(LONGEST, max(SHORTEST[trained], planned // SHARE))


class Recorder:
    """Samples the steps of ``module``, whose trained parameters are the :class:`optimiser.FlatParameters` ``flat``.

    Args:
        prefix: what is put before the names of a module that is trained by itself (``head.``).
        limits: between which inputs an activation function of a kind is active.
        tolerance: rtol and atol, beyond which a number counts as changed.
    """

    def __init__(self, module: nn.Module, flat: Any, prefix: str, limits: Limits, tolerance: tuple[float, float]):
        self.names = [prefix + name for name in flat.names]
        self.sizes = [each.numel() for each in flat.parameters]
        self.limits, self.tolerance = limits, tolerance
        self.watched = [(prefix + name, kind, each) for name, kind, each in _activations(module)]
        self.module = module
        self._seen: dict[str, tuple[str, int, int, torch.Tensor]] = {}
        self._uses: dict[str, int] = {}
        # The places in the flat vector that are looked at, how many of each tensor, and whose each one is.
        places, start = [], 0
        for size in self.sizes:
            places.append(torch.arange(start, start + size, -(-size // NUMBERS)))
            start += size
        self.counts = [len(each) for each in places]
        device = flat.values.device
        self.places = torch.cat(places).to(device)
        self.owners = torch.arange(len(places)).repeat_interleave(torch.tensor(self.counts)).to(device)
        # The weights after the sampled step before: a single step may leave a tensor almost as it was.
        self._last: torch.Tensor | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[bool]:
        """Look at what the activation functions get meanwhile."""
        self._seen = {}
        # A batch may come in several parts: each pass through the network counts the uses of a module anew.
        hooks = [self.module.register_forward_pre_hook(lambda *_: self._uses.clear())]
        hooks += [
            module.register_forward_pre_hook(partial(self._look, name, kind)) for name, kind, module in self.watched
        ]
        try:
            yield True
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _look(self, name: str, kind: str, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = _observations(inputs[0].detach())
        low, high = self.limits[kind]
        active = (rows > low if high == math.inf else (rows > low) & (rows < high)).sum(0)
        total, squares = rows.sum(), rows.square().sum()
        sums = torch.cat([torch.stack([total, squares]), active.double()])
        self._uses[name] = self._uses.get(name, 0) + 1
        if self._uses[name] > 1:  # one module that is used several times
            name = f"{name}#{self._uses[name]}"
        inputs_before, sums_before = self._seen[name][1::2] if name in self._seen else (0, 0)
        self._seen[name] = (kind, inputs_before + len(rows), rows.shape[1], sums_before + sums)

    def activations(self) -> dict[str, tuple[str, int, int, torch.Tensor]]:
        """What was seen since :meth:`watching` began: kind, inputs, units, and sums on the CPU.

        The sums of several processes add up: that of the inputs, that of their squares, and each unit's active ones.
        """
        if not self._seen:
            return {}
        sums = torch.cat([each[3] for each in self._seen.values()]).cpu().split([2 + s[2] for s in self._seen.values()])
        return {name: (*each[:3], made) for (name, each), made in zip(self._seen.items(), sums, strict=True)}

    def look(self, values: torch.Tensor) -> torch.Tensor:
        """Those numbers of a flat vector that are looked at."""
        return values.index_select(0, self.places)

    @torch.no_grad()
    def parameters(
        self, gradient: torch.Tensor, before: torch.Tensor, after: torch.Tensor, spread: bool
    ) -> list[Parameter]:
        """The statistics of each tensor: flat vectors of gradient and weights, and :meth:`look` before the step."""
        rtol, atol = self.tolerance
        some, now = self.look(gradient), self.look(after)
        last = before if self._last is None else self._last
        changed = (now - last).abs_() > last.abs().mul_(rtol).add_(atol)
        self._last = now
        update = (now - before).double()
        numbers = torch.stack([some.abs(), now.abs(), some != 0, now != 0, before.double() ** 2, update**2, changed], 1)
        sums = numbers.new_zeros(len(self.sizes), numbers.shape[1]).index_add_(0, self.owners, numbers)
        # A sum of them all says whether a number that was not looked at is NaN, infinite, or just not zero.
        totals = [torch.stack([part.sum() for part in each.split(self.sizes)]) for each in (gradient, after)]
        columns = [*totals, *sums.unbind(1)]
        if spread:
            columns.append(torch.stack([_spread(part) for part in some.split(self.counts)]))
        rows = torch.stack([column.double() for column in columns], 1).tolist()
        return [
            Parameter(
                name,
                gradient_mean=_mean(row[2], count, row[0]),
                weight_mean=_mean(row[3], count, row[1]),
                numbers=count,
                gradient_zeros=_zeros(row[4], count, row[0]),
                weight_zeros=_zeros(row[5], count, row[1]),
                weight_norm=row[6] ** 0.5,
                update_norm=row[7] ** 0.5,
                changed=int(row[8]),
                spread=row[9] if spread else None,
            )
            for name, count, row in zip(self.names, self.counts, rows, strict=True)
        ]


def merged(parts: list[dict[str, tuple[str, int, int, torch.Tensor]]]) -> list[Activation]:
    """The activations that several processes saw of one step's batch."""
    made = []
    for name in dict.fromkeys(name for part in parts for name in part):
        seen = [part[name] for part in parts if name in part]
        kind, inputs, units = seen[0][0], sum(each[1] for each in seen), seen[0][2]
        sums = torch.stack([each[3] for each in seen]).sum(0)
        mean, square = (sums[:2] / (inputs * units)).tolist()
        percents = (100 * sums[2:] / inputs).floor().long()
        activity = torch.bincount(percents, minlength=101).tolist()
        made.append(Activation(name, kind, inputs, max(0.0, square - mean * mean), activity))
    return made


def keep(samples: list[Sample], sample: Sample) -> None:
    """Add a sample, and drop what is between the first and the newest ones."""
    samples.append(sample)
    if len(samples) > len(FIRST) + KEPT:
        del samples[len(FIRST)]


def _activations(module: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """The activation functions of a module, without those in a part of it that is frozen."""
    frozen = set()
    for name, part in module.named_children():
        needs = [parameter.requires_grad for parameter in part.parameters()]
        if needs and not any(needs):
            frozen.add(name)
    for name, each in module.named_modules():
        if type(each) in KINDS and name.split(".")[0] not in frozen:
            yield name, KINDS[type(each)], each


def _observations(inputs: torch.Tensor) -> torch.Tensor:
    """Inputs as (observations, units): of (N, C, H, W) some places of some pictures, a unit a channel."""
    if inputs.dim() == 4:
        high, wide = (max(1, -(-side // PLACES)) for side in inputs.shape[2:])
        inputs = inputs[:PICTURES, :, ::high, ::wide].permute(0, 2, 3, 1)
    return inputs.flatten(0, -2).float()


def _mean(sizes: float, count: int, total: float) -> float:
    return sizes / count if math.isfinite(total) else total


def _zeros(others: float, count: int, total: float) -> int:
    return count - max(int(others), int(total != 0))


def _spread(gradient: torch.Tensor) -> torch.Tensor:
    """The distance between the percentiles 5 and 95."""
    ordered = gradient.sort().values
    last = len(ordered) - 1
    return ordered[round(0.95 * last)] - ordered[round(0.05 * last)]
