"""How two models differ, how sure that is, and which difference the samples could have shown.

Requests that follow each other are slow together, so a thousand of them are no thousand samples: a test that takes
each for one finds differences between a model and itself (benchmarks/comparison_power.py). Here the sample is a pair of
blocks at one rate, one of each model (Student's t on the logarithm of their ratio), for capacity a round, and for
accuracy a picture (McNemar's exact test): a model gives a picture the same answer every time.

A difference is claimed where its whole interval lies beyond what two instances of one type differ by anyway. The
intervals are wide enough that all claims together are as sure as asked for (Bonferroni's correction).

Sources: T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time" (repetitions where the noise is made);
D. Bonett and R. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
data" (2012); R. Newcombe, "Interval estimation for the difference between independent proportions" (1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from musher.comparison.blocks import Block, Pair, Picture, Round
from musher.comparison.climb import GRID
from musher.record import AgreementOfModels, ModelDifference

LATENCY, TAIL, CAPACITY, ERRORS, ACCURACY = "typical latency", "p99 latency", "capacity", "errors", "accuracy"
CLAIMS = 5  # of those five
COST = "cost of 1,000 predictions"  # which is capacity once more
POWER = 0.8  # a difference that "could have been seen" is seen in 4 of 5 such comparisons
LEAST_PAIRS, LEAST_ROUNDS, LEAST_PICTURES, LEAST_REQUESTS = 6, 4, 30, 100


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """`confidence` of all claims together; `margin` the share by which instances of one type differ anyway."""

    confidence: float = 0.95
    margin: float = 0.05

    @property
    def doubt(self) -> float:
        """The chance of being wrong that one claim has."""
        return (1 - self.confidence) / CLAIMS


def differences(rounds: Sequence[Round], pictures: Sequence[Picture], sure: Sureness) -> list[ModelDifference]:
    """All differences, in the order in which they matter to whoever reads them."""
    pairs = [pair for each in rounds for pair in each.pairs]
    return [
        _latency(LATENCY, pairs, 50, sure),
        _latency(TAIL, pairs, 99, sure),
        _capacity(rounds, sure),
        _errors(pairs, pictures, sure),
        _accuracy(pictures, sure),
    ]


def cost(capacity: ModelDifference, per_1000: Callable[[float], float]) -> ModelDifference:
    """The cost of 1,000 predictions at capacity: the same instance's price over another number of them.

    Parameters: `per_1000` US dollars at a rate.
    """
    if capacity.missing or not (capacity.a and capacity.b):
        return capacity.replace(name=COST)
    inverse = {each: 1 / (getattr(capacity, each) or 1) for each in ("difference", "low", "high")}
    return capacity.replace(
        name=COST,
        a=per_1000(capacity.a),
        b=per_1000(capacity.b),
        difference=inverse["difference"],
        low=inverse["high"],
        high=inverse["low"],
    )


def ratio(pairs: Sequence[Pair], percentile: float, sure: Sureness) -> tuple[float, float, float] | None:
    """How many times as long b takes, with its interval; None for fewer pairs than LEAST_ROUNDS."""
    logs = [_log(pair.b, percentile) - _log(pair.a, percentile) for pair in pairs]
    if len(logs) < LEAST_ROUNDS:
        return None
    mean, error, reach, _ = _student(logs, sure.doubt)
    return math.exp(mean), math.exp(mean - reach * error), math.exp(mean + reach * error)


def _latency(name: str, pairs: Sequence[Pair], percentile: float, sure: Sureness) -> ModelDifference:
    """b's latency as a ratio to a's, on average over the rates that both take."""
    if len(pairs) < LEAST_PAIRS:
        few = f"{len(pairs)} pairs of blocks, {LEAST_PAIRS} are needed"
        return ModelDifference(name=name, is_ratio=True, missing=few)
    logs = [[_log(each, percentile) for each in (pair.a, pair.b)] for pair in pairs]
    a, b = (math.exp(sum(side) / len(side)) for side in zip(*logs, strict=True))
    return _of_ratios(
        name, [of_b - of_a for of_a, of_b in logs], sure, a=a, b=b, less_is_better=True, samples=f"{len(pairs)} pairs"
    )


def _capacity(rounds: Sequence[Round], sure: Sureness) -> ModelDifference:
    known = [each.capacity for each in rounds if len(each.capacity) == 2]
    if len(known) < LEAST_ROUNDS:
        few = f"{len(known)} rounds in which both were measured, {LEAST_ROUNDS} are needed"
        return ModelDifference(name=CAPACITY, is_ratio=True, missing=few)
    a, b = (math.exp(sum(math.log(each[variant]) for each in known) / len(known)) for variant in ("a", "b"))
    return _of_ratios(
        CAPACITY,
        [math.log(each["b"] / each["a"]) for each in known],
        sure,
        a=a,
        b=b,
        less_is_better=False,
        # Each rate is one of the grid's, anywhere below the true one within a step: two uniform errors.
        variance=GRID**2 / 6,
        samples=f"{len(known)} rounds",
    )


def _of_ratios(
    name: str,
    logs: Sequence[float],
    sure: Sureness,
    *,
    a: float,
    b: float,
    less_is_better: bool,
    samples: str,
    variance: float = 0.0,
) -> ModelDifference:
    """What ratios of b to a, as logarithms, come to. `variance` of each that its spread need not show."""
    from scipy.stats import t

    mean, error, reach, freedom = _student(logs, sure.doubt, variance)
    low, high, margin = mean - reach * error, mean + reach * error, math.log1p(sure.margin)
    more = 1 if low > margin else -1 if high < -margin else 0
    beyond = (abs(mean) - margin) / error if error else math.copysign(math.inf, abs(mean) - margin)
    return ModelDifference(
        name=name,
        is_ratio=True,
        a=a,
        b=b,
        difference=math.exp(mean),
        low=math.exp(low),
        high=math.exp(high),
        smallest=math.exp(margin + (reach + float(t.ppf(POWER, freedom))) * error),
        p_value=min(1.0, 2 * float(t.sf(beyond, freedom))),
        better=None if more == 0 else "a" if (more > 0) == less_is_better else "b",
        samples=samples,
    )


def _errors(pairs: Sequence[Pair], pictures: Sequence[Picture], sure: Sureness) -> ModelDifference:
    """Requests that failed, of those at rates that both take and of the labelled pictures: Fisher's exact test."""
    from scipy.stats import fisher_exact

    sent = {v: sum(getattr(pair, v).sent for pair in pairs) + len(pictures) for v in ("a", "b")}
    failed = {
        v: sum(getattr(pair, v).failed for pair in pairs) + sum(getattr(each, v) is None for each in pictures)
        for v in ("a", "b")
    }
    if min(sent.values()) < LEAST_REQUESTS:
        few = f"{min(sent.values())} requests, {LEAST_REQUESTS} are needed"
        return ModelDifference(name=ERRORS, is_ratio=False, missing=few)
    a, b = failed["a"] / sent["a"], failed["b"] / sent["b"]
    p_value = float(
        fisher_exact([[failed[v], sent[v] - failed[v]] for v in ("a", "b")], alternative="two-sided").pvalue
    )
    low, high = _newcombe((failed["a"], sent["a"]), (failed["b"], sent["b"]), sure.doubt)
    claimed = p_value < sure.doubt and (low > 0 or high < 0)
    return ModelDifference(
        name=ERRORS,
        is_ratio=False,
        a=a,
        b=b,
        difference=b - a,
        low=low,
        high=high,
        smallest=_smallest_of_errors(min(failed["a"], failed["b"]), min(sent.values()), sure.doubt),
        p_value=p_value,
        better=None if not claimed else "a" if b > a else "b",
        samples=f"{sent['a']:,} and {sent['b']:,} requests",
    )


def _accuracy(pictures: Sequence[Picture], sure: Sureness) -> ModelDifference:
    """Pictures told right, of those that both answered: McNemar's exact test, and Bonett's and Price's interval."""
    from scipy.stats import binomtest, norm

    both = [each for each in pictures if each.a is not None and each.b is not None]
    if len(both) < LEAST_PICTURES:
        few = f"{len(both)} pictures were answered by both, {LEAST_PICTURES} are needed"
        return ModelDifference(name=ACCURACY, is_ratio=False, missing=few)
    right = [(each.a == each.label, each.b == each.label) for each in both]
    lost, won, count = right.count((True, False)), right.count((False, True)), len(both)
    p_value = float(binomtest(won, lost + won, 0.5).pvalue) if lost + won else 1.0
    # One is added to each of the two counts: without it a few pictures that agree would look like certainty.
    less, more = (lost + 1) / (count + 2), (won + 1) / (count + 2)
    reach, error = float(norm.isf(sure.doubt / 2)), math.sqrt((less + more - (more - less) ** 2) / (count + 2))
    low, high = more - less - reach * error, more - less + reach * error
    claimed = p_value < sure.doubt and (low > 0 or high < 0)
    return ModelDifference(
        name=ACCURACY,
        is_ratio=False,
        a=sum(a for a, _ in right) / count,
        b=sum(b for _, b in right) / count,
        difference=(won - lost) / count,
        low=low,
        high=high,
        smallest=min(1.0, (reach + float(norm.ppf(POWER))) * math.sqrt((less + more) / (count + 2))),
        p_value=p_value,
        better=None if not claimed else "b" if won > lost else "a",
        samples=f"{count} pictures: {lost} only a tells right, {won} only b",
    )


def agreement(pictures: Sequence[Picture], sure: Sureness) -> AgreementOfModels | None:
    """None where no picture was answered by both."""
    from scipy.stats import binomtest

    both = [each for each in pictures if each.a is not None and each.b is not None]
    if not both:
        return None
    same = sum(each.a == each.b for each in both)
    interval = binomtest(same, len(both)).proportion_ci(1 - sure.doubt, method="wilson")
    return AgreementOfModels(
        share=same / len(both), low=float(interval.low), high=float(interval.high), pictures=len(both)
    )


def percentile(block: Block, wanted: float) -> float:
    """A percentile of a block's latencies in milliseconds: of fewer than a hundred, the 99th is the slowest."""
    ordered = sorted(block.latencies_ms)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * wanted / 100) - 1)]


def _log(block: Block, wanted: float) -> float:
    return math.log(max(percentile(block, wanted), 1e-3))


def _student(logs: Sequence[float], doubt: float, variance: float = 0.0) -> tuple[float, float, float, int]:
    """Mean, its standard error, how many of these an interval of confidence 1 - doubt reaches, degrees of freedom."""
    from scipy.stats import t

    count = len(logs)
    mean = sum(logs) / count
    spread = sum((each - mean) ** 2 for each in logs) / (count - 1)
    return mean, math.sqrt(max(spread, variance) / count), float(t.isf(doubt / 2, count - 1)), count - 1


def _newcombe(a: tuple[int, int], b: tuple[int, int], doubt: float) -> tuple[float, float]:
    """The interval of the difference of two shares, from Wilson's of each."""
    from scipy.stats import binomtest

    (of_a, of_b) = (binomtest(*each).proportion_ci(1 - doubt, method="wilson") for each in (a, b))
    share_a, share_b = a[0] / a[1], b[0] / b[1]
    low = share_b - share_a - math.hypot(share_b - of_b.low, of_a.high - share_a)
    return low, share_b - share_a + math.hypot(of_b.high - share_b, share_a - of_a.low)


def _smallest_of_errors(failed: int, sent: int, doubt: float) -> float:
    """By how much more often a model has to fail than one with `failed` of `sent`, to be told apart in POWER of such
    comparisons: as many failures as the test needs come in that share of them (Clopper's and Pearson's bound)."""
    from scipy.stats import beta, fisher_exact

    few, enough = failed, sent
    while enough - few > 1:
        middle = (few + enough) // 2
        if fisher_exact([[failed, sent - failed], [middle, sent - middle]]).pvalue < doubt:
            enough = middle
        else:
            few = middle
    return float(beta.ppf(POWER, enough, sent - enough + 1)) - failed / sent
