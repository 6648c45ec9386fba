"""The page of a comparison: the conclusion first, every difference with its interval, nothing that was not run."""

from __future__ import annotations

import re

from musher import record
from musher.costs import breakdown
from musher.report.page import points, render
from musher.report.summary import key_figures, outcome

RATIO = {"a": 20.0, "b": 25.0, "difference": 1.25, "low": 1.2, "high": 1.3, "smallest": 1.1, "p_value": 1e-9}
POINTS = {"a": 0.9, "b": 0.905, "difference": 0.005, "low": -0.02, "high": 0.03, "smallest": 0.04, "p_value": 1.0}
DIFFERENCES = [
    record.ModelDifference(name="typical latency", is_ratio=True, better="a", samples="32 pairs", **RATIO),
    record.ModelDifference(name="p99 latency", is_ratio=True, missing="3 pairs of blocks, 6 are needed"),
    record.ModelDifference(name="cost of 1,000 predictions", is_ratio=True, **{**RATIO, "a": 0.0005, "b": 0.0006}),
    record.ModelDifference(name="accuracy", is_ratio=False, samples="200 pictures", **POINTS),
]
RATE = record.AtRate(
    rps=10.0,
    requests={"a": 100, "b": 90},
    failed={"a": 0, "b": 1},
    p50_ms={"a": 20.0, "b": 25.0},
    p99_ms={"a": 40.0, "b": None},
    taken={"a": 8, "b": 7},
    offered={"a": 8, "b": 8},
)


def compared(**changes) -> record.RunRecord:
    part = record.ModelComparison(
        **{
            "a": record.ContestedModel(package_arn="arn:3", version=3, capacity_rps=40.0, per_1000_usd=0.0008),
            "b": record.ContestedModel(package_arn="arn:<4>", version=4, capacity_rps=32.0, per_1000_usd=0.001),
            "endpoint": "musher-image-classifier-comparison",
            "instance_type": "ml.m5.large",
            "latency_limit_ms": 500,
            "confidence": 0.95,
            "margin": 0.05,
            "rounds": 8,
            "rounds_wanted": 8,
            "differences": DIFFERENCES,
            "by_rate": [RATE, RATE.replace(rps=14.1)],
            "agreement": record.AgreementOfModels(share=0.97, low=0.92, high=0.99, pictures=200),
            "conclusion": "Model a is faster.",
            "instance_seconds": 3600.0,
            "calls": 1000,
        }
        | changes
    )
    run = record.RunRecord(
        run="manual__1",
        model_comparison=part,
        projected_costs=record.ProjectedCosts(
            comparison=record.Projection(projected_usd=0.1, worst_case_usd=0.3, basis="8 rounds", max_cost_usd=5)
        ),
    )
    return run.replace(costs=breakdown.of_run(run))


def test_the_conclusion_is_what_one_reads_first():
    run = compared()
    assert (outcome(run).headline, outcome(run).because) == ("Compared", "Model a is faster.")
    assert [each.value for each in key_figures(run)] == ["40/s · 32/s", "$0.0008 · $0.001"]
    page = render(run)
    assert page.index("Model a is faster.") < page.index("Two models under the same load")


def test_every_difference_is_there_and_nothing_that_was_not_run():
    page = render(compared())
    assert "was not run" not in page
    assert "arn:&lt;4&gt;" in page
    for said in ("1.2 to 1.3×", "&lt; 0.0001", "not known: 3 pairs of blocks", "-2 to 3 points", "4 points", "97.0%"):
        assert said in page, said
    assert page.count("<svg") == 2
    assert re.search(r"8 of 8</td><td class=\"n\">7 of 8", page)


def test_what_it_cost_stands_beside_what_was_projected(fixed_prices):
    run = compared()
    assert run.costs.run_usd == run.costs.load_test.usd == 0.115
    (projected,) = run.costs.projected
    assert (projected.what, projected.actual_usd) == ("comparison", 0.115)
    assert "comparison: $0.1, at worst $0.3" in render(run)


def test_a_model_that_takes_no_load_has_no_chart():
    nothing = record.ContestedModel(package_arn="arn:4", refused="3 of 3 requests failed")
    missing = [record.ModelDifference(name="capacity", is_ratio=True, missing="0 rounds")]
    page = render(compared(b=nothing, differences=missing, by_rate=[], agreement=None))
    assert "It takes no load: 3 of 3 requests failed" in page
    assert "<svg" not in page


def test_points():
    assert (points(0.0154), points(-0.1), points(None)) == ("1.54 points", "-10 points", "–")
