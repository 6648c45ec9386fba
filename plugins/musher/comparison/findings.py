"""From what was measured to the run record's part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from musher import record
from musher.comparison import differences
from musher.comparison.blocks import VARIANTS, Block, Picture, Round, Variant
from musher.comparison.conclusion import conclude
from musher.comparison.differences import CAPACITY, Sureness
from musher.load.capacity import REQUESTS_OF_A_P99
from musher.load.histogram import percentiles_ms


def findings(
    rounds: Sequence[Round],
    pictures: Sequence[Picture],
    *,
    refused: Mapping[Variant, str],
    weights: Mapping[Variant, list[str]],
    names: Mapping[Variant, str],
    packages: Mapping[Variant, Mapping[str, Any]],
    sure: Sureness,
    per_1000: Callable[[float], float],
    **facts: Any,
) -> record.ModelComparison:
    """The part.

    Parameters: `refused` and `names` as `conclude` takes them; `weights` that answered; `packages` `package_arn`,
    `version` and `status` of each; `per_1000` US dollars for 1,000 predictions at a rate; `facts` the part's other
    fields.
    """
    found = differences.differences(rounds, pictures, sure)
    capacity = next(each for each in found if each.name == CAPACITY)
    found.insert(found.index(capacity) + 1, differences.cost(capacity, per_1000))
    models = {
        variant: _model(variant, rounds, pictures, capacity, refused, weights, packages[variant], per_1000)
        for variant in VARIANTS
    }
    return record.ModelComparison(
        **models,
        confidence=sure.confidence,
        margin=sure.margin,
        rounds=len(rounds),
        differences=found,
        by_rate=_by_rate(rounds, sure),
        agreement=differences.agreement(pictures, sure),
        conclusion=conclude([each for each in found if each.name != differences.COST], refused, names),
        **facts,
    )


def _model(
    variant: Variant,
    rounds: Sequence[Round],
    pictures: Sequence[Picture],
    capacity: record.ModelDifference,
    refused: Mapping[Variant, str],
    weights: Mapping[Variant, list[str]],
    package: Mapping[str, Any],
    per_1000: Callable[[float], float],
) -> record.ContestedModel:
    answered = [(getattr(each, variant), each.label) for each in pictures if getattr(each, variant) is not None]
    blocks = [each for made in rounds for each in (*made.blocks, *made.between) if each.variant == variant]
    rps = getattr(capacity, variant)
    return record.ContestedModel(
        **package,
        weights=weights[variant],
        sent=len(pictures) + sum(each.sent for each in blocks),
        failed=len(pictures) - len(answered) + sum(each.failed for each in blocks),
        capacity_rps=rps,
        per_1000_usd=rps and per_1000(rps),
        accuracy=sum(said == label for said, label in answered) / len(answered) if answered else None,
        refused=refused.get(variant),
    )


def _by_rate(rounds: Sequence[Round], sure: Sureness) -> list[record.AtRate]:
    rates = sorted({each.rps for made in rounds for each in made.blocks})
    return [_at_rate(rps, rounds, sure) for rps in rates]


def _at_rate(rps: float, rounds: Sequence[Round], sure: Sureness) -> record.AtRate:
    blocks: dict[Variant, list[list[Block]]] = {
        variant: [[each for each in made.blocks if (each.variant, each.rps) == (variant, rps)] for made in rounds]
        for variant in VARIANTS
    }
    flat = {variant: [each for some in blocks[variant] for each in some] for variant in VARIANTS}
    times = {variant: [ms / 1000 for each in flat[variant] for ms in each.latencies_ms] for variant in VARIANTS}
    middle = {variant: percentiles_ms(times[variant], 50, 99) for variant in VARIANTS}
    pairs = [pair for made in rounds for pair in made.pairs if pair.a.rps == rps]
    ratio, low, high = differences.ratio(pairs, 50, sure) or (None, None, None)
    return record.AtRate(
        rps=rps,
        requests={variant: sum(each.sent for each in flat[variant]) for variant in VARIANTS},
        failed={variant: sum(each.failed for each in flat[variant]) for variant in VARIANTS},
        p50_ms={variant: middle[variant][0] for variant in VARIANTS},
        p99_ms={
            variant: middle[variant][1] if len(times[variant]) >= REQUESTS_OF_A_P99 else None for variant in VARIANTS
        },
        taken={variant: sum(any(each.taken for each in some) for some in blocks[variant]) for variant in VARIANTS},
        offered={variant: sum(bool(some) for some in blocks[variant]) for variant in VARIANTS},
        ratio=ratio,
        low=low,
        high=high,
    )
