"""What a comparison comes to, in sentences: which model is better at what, or that the difference is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from musher.comparison.blocks import VARIANTS, Variant
from musher.comparison.differences import ACCURACY, CAPACITY, ERRORS, LATENCY, TAIL
from musher.record import ModelDifference
from musher.words import listed

_OTHER: dict[Variant, Variant] = {"a": "b", "b": "a"}


def conclude(found: Sequence[ModelDifference], refused: Mapping[Variant, str], names: Mapping[Variant, str]) -> str:
    """The conclusion from all differences.

    Parameters: `refused` why a model has no capacity within the limits, for each that has none; `names` what the
    models are called.
    """
    sentences = [
        f"Model {names[each]} takes no load within the latency limit: {refused[each]}."
        for each in VARIANTS
        if each in refused
    ]
    for variant in VARIANTS:
        better = [_better(each) for each in found if each.better == variant]
        if better:
            sentences.append(f"Model {names[variant]} {listed(better)} than {names[_OTHER[variant]]}.")
    noise = [each for each in found if each.better is None and not each.missing]
    if noise and not sentences:
        sentences.append(f"Nothing tells {names['a']} and {names['b']} apart: what differs is noise.")
    elif noise:
        sentences.append(f"In {listed([each.name for each in noise])} the difference is noise.")
    if noise:
        seen = [f"{_smallest(each)} in {each.name}" for each in noise if each.smallest is not None]
        sentences.append(
            f"These samples would have shown, in four of five such comparisons, a difference of {listed(seen)}."
        )
    sentences += [f"Nothing is known of {each.name}: {each.missing}." for each in found if each.missing]
    return " ".join(sentences)


def _better(each: ModelDifference) -> str:
    """What the better model does, up to the word `than`: `takes 25 % more requests a second (18 % to 33 %), ...`."""
    if each.name in (LATENCY, TAIL):
        what = "typically" if each.name == LATENCY else "in its slowest hundredth"
        return f"is {what} {_by(each)} faster"
    if each.name == CAPACITY:
        return f"takes {_by(each)} more load ({_by(each, inverse=True)} less cost for each prediction)"
    low, high = sorted(abs(end) * 100 for end in (each.low or 0, each.high or 0))
    points = f"{abs(each.difference or 0) * 100:.3g} points ({low:.2g} to {high:.2g})"
    if each.name == ERRORS:
        return f"fails {points} less often"
    assert each.name == ACCURACY
    return f"is {points} more accurate"


def _by(each: ModelDifference, *, inverse: bool = False) -> str:
    """By how much the better one is better, as a share of the other's figure, with its interval.

    Of latency and cost by how much less it has, of capacity how much more.
    """
    ends = [value for value in (each.difference, each.low, each.high) if value]
    if each.name == CAPACITY:
        times = ends if each.better == "b" else [1 / value for value in ends]
        shares = [1 - 1 / value if inverse else value - 1 for value in times]
    else:
        shares = [1 - (value if each.better == "b" else 1 / value) for value in ends]
    middle, (low, high) = shares[0], sorted(shares[1:])
    return f"{middle:.0%} ({low:.0%} to {high:.0%})" if not inverse else f"{middle:.0%}"


def _smallest(each: ModelDifference) -> str:
    return f"{each.smallest - 1:.0%}" if each.is_ratio else f"{each.smallest * 100:.2g} points"
