"""Takes the statistics of a sampled step: of gradients, weights and updates, and of what activation functions get.

Hooks are there during a sampled step only, and of large tensors and activations a part is looked at. So a step that is
not sampled costs a comparison. What was looked at is copied from the device at the end of the step and added up by
numpy: of a few thousand numbers most of what torch takes is the way into each of its operations.
"""

import contextlib
import math
import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy
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
# Of an activation function: kind, inputs, units, and sums.
Seen = tuple[str, int, int, numpy.ndarray]


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
        self._seen: dict[str, tuple[str, list[torch.Tensor]]] = {}
        self._uses: dict[str, int] = {}
        # The places in the flat vector that are looked at, how many of each tensor, and where each one's begin.
        places, start = [], 0
        for size in self.sizes:
            places.append(torch.arange(start, start + size, -(-size // NUMBERS)))
            start += size
        self.counts = [len(each) for each in places]
        self._counts = numpy.array(self.counts)
        self._of_torch = torch.cat(places).to(flat.values.device)
        self._of_numpy = torch.cat(places).numpy()
        ends = numpy.cumsum(self._counts)
        self._starts = ends - self._counts
        self._spans = list(zip(self._starts.tolist(), ends.tolist(), strict=True))
        # The weights after the sampled step before: a single step may leave a tensor almost as it was.
        self._last: numpy.ndarray | None = None

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

    def _look(self, name: str, kind: str, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._uses[name] = self._uses.get(name, 0) + 1
        if self._uses[name] > 1:  # one module that is used several times
            name = f"{name}#{self._uses[name]}"
        self._seen.setdefault(name, (kind, []))[1].append(_observations(inputs[0].detach()))

    def activations(self) -> dict[str, Seen]:
        """What was seen since :meth:`watching` began: kind, inputs, units, and sums.

        The sums of several processes add up: that of the inputs, that of their squares, and each unit's active ones.
        """
        found = {}
        for name, (kind, parts) in self._seen.items():
            rows = (torch.cat(parts) if len(parts) > 1 else parts[0]).cpu().numpy()
            low, high = self.limits[kind]
            active = rows > low if high == math.inf else (rows > low) & (rows < high)
            sums = numpy.empty(2 + rows.shape[1])
            with numpy.errstate(invalid="ignore", over="ignore"):
                sums[0], sums[1] = rows.sum(), numpy.vdot(rows, rows)
            # Truth values are added up more slowly than the bytes that they are.
            numpy.add.reduce(active.view(numpy.uint8), axis=0, dtype=numpy.int32, out=sums[2:])
            found[name] = (kind, *rows.shape, sums)
        return found

    def look(self, values: torch.Tensor) -> numpy.ndarray:
        """Those numbers of a flat vector that are looked at."""
        if values.device.type == "cpu":
            return values.detach().numpy().take(self._of_numpy)
        return values.index_select(0, self._of_torch).cpu().numpy()

    @torch.no_grad()
    def parameters(
        self, gradient: torch.Tensor, before: numpy.ndarray, after: torch.Tensor, spread: bool
    ) -> list[Parameter]:
        """The statistics of each tensor: flat vectors of gradient and weights, and :meth:`look` before the step."""
        some, now = self.look(gradient), self.look(after)
        last, self._last = before if self._last is None else self._last, now
        rtol, atol = self.tolerance
        # A row for each figure, so that one call adds up all tensors' numbers of all figures.
        rows = numpy.empty((7, len(now)))
        with numpy.errstate(invalid="ignore", over="ignore"):  # what is infinite is said by the rules
            numpy.equal(some, 0, out=rows[0])
            numpy.equal(now, 0, out=rows[1])
            numpy.greater(numpy.abs(now - last), rtol * numpy.abs(last) + atol, out=rows[2])
            numpy.abs(some, out=rows[3])
            numpy.abs(now, out=rows[4])
            rows[5] = before
            numpy.subtract(now, rows[5], out=rows[6])
            numpy.square(rows[5:], out=rows[5:])
            sums = numpy.add.reduceat(rows, self._starts, axis=1)
            numpy.sqrt(sums[5:], out=sums[5:])
        gradient_zeros, weight_zeros, changed = sums[:3].astype(int).tolist()
        gradients, weights = (sums[3:5] / self._counts).tolist()
        norms, updates = sums[5:].tolist()
        zeros = gradient_zeros + weight_zeros
        # The others count where they say more. One product tells whether any of them is NaN or infinite.
        finite = math.isfinite(torch.dot(gradient, after).item())
        if not finite or any(map(operator.eq, zeros, self.counts * 2)):
            self._beyond(gradient, gradients, gradient_zeros)
            self._beyond(after, weights, weight_zeros)
        spreads = [_spread(some[start:end]) for start, end in self._spans] if spread else [None] * len(self.names)
        columns = (gradients, weights, self.counts, gradient_zeros, weight_zeros, norms, updates, changed, spreads)
        return [Parameter(*row) for row in zip(self.names, *columns, strict=True)]

    def _beyond(self, values: torch.Tensor, means: list[float], zeros: list[int]) -> None:
        """Let the numbers count that are not looked at: those that are NaN or infinite, and those that are not zero."""
        for number, (part, count) in enumerate(zip(values.split(self.sizes), self.counts, strict=True)):
            total = part.sum().item()
            if not math.isfinite(total):
                means[number] = total
            if zeros[number] == count and total != 0:
                zeros[number] -= 1


def merged(parts: list[dict[str, Seen]]) -> list[Activation]:
    """The activations that several processes saw of one step's batch."""
    made = []
    for name in dict.fromkeys(name for part in parts for name in part):
        seen = [part[name] for part in parts if name in part]
        kind, inputs, units = seen[0][0], sum(each[1] for each in seen), seen[0][2]
        sums = sum(each[3] for each in seen)
        mean, square = (sums[:2] / (inputs * units)).tolist()
        percents = (100 * sums[2:] / inputs).astype(int)
        activity = numpy.bincount(percents, minlength=101).tolist()
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
    """A copy of inputs as (observations, units): of (N, C, H, W) some places of some pictures, a unit a channel."""
    if inputs.dim() == 4:
        high, wide = (max(1, -(-side // PLACES)) for side in inputs.shape[2:])
        inputs = inputs[:PICTURES, :, ::high, ::wide].permute(0, 2, 3, 1)
    # An activation function may write over its inputs.
    return inputs.flatten(0, -2).to(torch.float32, copy=True)


def _spread(gradient: numpy.ndarray) -> float:
    """The distance between the percentiles 5 and 95."""
    ordered = numpy.sort(gradient)
    last = len(ordered) - 1
    return float(ordered[round(0.95 * last)] - ordered[round(0.05 * last)])
