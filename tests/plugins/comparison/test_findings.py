"""From what was measured to the record's part."""

from __future__ import annotations

from musher.comparison.blocks import Block, Pair, Picture, Round
from musher.comparison.differences import COST, Sureness
from musher.comparison.findings import findings

FACTS = {
    "weights": {"a": ["1"], "b": ["2"]},
    "names": {"a": "a", "b": "b"},
    "packages": {each: {"package_arn": f"arn:{each}", "version": 1, "status": "Approved"} for each in "ab"},
    "sure": Sureness(),
    "per_1000": lambda rps: 1 / rps,
    "endpoint": "compared",
    "instance_type": "ml.m5.large",
    "latency_limit_ms": 500,
    "rounds_wanted": 8,
    "instance_seconds": 100.0,
    "calls": 10,
}
PICTURES = [Picture(str(number), "x", "x", "x" if number % 2 else "y") for number in range(40)]


def block(variant, rps, milliseconds, why=None):
    return Block(variant, rps, 60, 0, (milliseconds,) * 60, why)


def a_round():
    a, b = block("a", 10.0, 20.0), block("b", 10.0, 40.0)
    refused = [block("b", 14.1, 900.0, "too slow")] * 2
    return Round(
        {"a": 14.1, "b": 10.0}, [Pair(a, b)], [a, b, block("a", 14.1, 30.0), *refused], [block("b", 12.0, 50.0)]
    )


def test_each_rate_of_the_climb_has_its_row_and_each_model_its_figures():
    part = findings([a_round() for _ in range(8)], PICTURES, refused={}, **FACTS)
    low, high = part.by_rate
    assert (low.rps, low.requests, low.taken, low.offered) == (10.0, {"a": 480, "b": 480}, {"a": 8, "b": 8}, low.taken)
    assert round(low.ratio, 2) == 2.0
    assert (high.requests, high.taken, high.offered) == ({"a": 480, "b": 960}, {"a": 8, "b": 0}, {"a": 8, "b": 8})
    assert high.ratio is None
    assert (part.a.accuracy, part.b.accuracy, part.agreement.share) == (1.0, 0.5, 0.5)
    assert part.a.sent == 40 + 8 * 120
    assert part.b.sent == 40 + 8 * 240
    assert round(part.a.per_1000_usd, 4) == round(1 / 14.1, 4)
    assert [each.name for each in part.differences][3] == COST
    assert part.conclusion.startswith("Model a is typically 50% (50% to 50%) faster")


def test_a_model_that_takes_no_load_leaves_the_pictures():
    part = findings([], PICTURES, refused={"b": "3 of 3 requests failed"}, **FACTS)
    assert part.conclusion.startswith(
        "Model b takes no load within the latency limit: 3 of 3 requests failed. Model a is "
    )
    assert (part.b.refused, part.b.capacity_rps, part.b.per_1000_usd) == ("3 of 3 requests failed", None, None)
    assert part.by_rate == []
    assert {each.name for each in part.differences if each.missing} == {
        "typical latency", "p99 latency", "capacity", COST, "errors",
    }  # fmt: skip
