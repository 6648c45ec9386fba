"""What a person decides on who approves a release, in words: the figures of both models, and how the trial went."""

from __future__ import annotations

from dataclasses import dataclass

from musher.record import Parity, RunRecord, Verdict
from musher.release.registered import CONFIDENCE, Accuracy


@dataclass(frozen=True)
class Serving:
    """What serves now: the model package's ARN and its accuracy; `note` where either is not known or not comparable."""

    package_arn: str | None
    accuracy: Accuracy | None
    note: str = ""


def body(
    run: RunRecord, package_arn: str, serving: Serving, *, verdict: Verdict | None, month_usd: float | None
) -> str:
    """The text of the request, in Markdown.

    Parameters: `run` the record that the deployment adds to; `verdict` the load test's, which passed, None where it was
    left out; `month_usd` what stands afterwards costs a month.
    """
    accuracy = [str(each or "not known") for each in (serving.accuracy, _of_candidate(run))]
    lines = [
        "| | serves now | to be released |",
        "|---|---|---|",
        f"| Model package | `{short(serving.package_arn)}` | `{short(package_arn)}` |",
        f"| Test accuracy, with its {CONFIDENCE:.0%} interval | {accuracy[0]} | {accuracy[1]} |",
        "",
    ]
    if serving.note:
        lines += [serving.note, ""]
    lines.append(f"- **Load test**: {_verdict(run, verdict)}{_figures(run, verdict)}")
    if run.parity:
        lines.append(f"- **Parity**: {_parity(run.parity)}")
        if pace := run.parity.pace:
            known = "" if pace.outcome != "inconclusive" else "not compared, "
            lines.append(f"- **Latency beside what serves**: {known}{pace.why}")
    if month_usd is not None:
        lines.append(f"- **Costs**: {month_usd:,.2f} USD a month from then on, at the fewest instances.")
    return "\n".join(lines)


def _of_candidate(run: RunRecord) -> Accuracy | None:
    if run.evaluation:
        return Accuracy(run.evaluation.accuracy, run.evaluation.images)
    return Accuracy(run.model.test_accuracy) if run.model and run.model.test_accuracy is not None else None


def _parity(parity: Parity) -> str:
    compared = parity.comparison
    if compared.not_compared:
        return f"not compared picture by picture, since {compared.not_compared}. {_registered(parity)}"
    return (
        f"{'the function answers as the evaluation did' if parity.passed else 'not reached'} "
        f"({compared.agreed + compared.near_ties:,} of {compared.compared:,} answers)"
    )


def _registered(parity: Parity) -> str:
    if parity.registered:
        return f"{parity.registered.why}."
    return "Its registration says no accuracy to hold its answers against."


def _verdict(run: RunRecord, verdict: Verdict | None) -> str:
    if verdict is None:
        return f"none in this run. {run.rehearsal.why}" if run.rehearsal else "none in this run."
    return f"passed, all {len(verdict.checks)} checks hold."


def _figures(run: RunRecord, verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    said = ""
    if run.load_test:
        test = run.load_test
        measured = [each.p99_ms for each in test.phases if each.p99_ms is not None and not each.invalid_because]
        if measured:
            limit = f"; the limit is {test.latency_limit_ms:g} ms" if test.latency_limit_ms else ""
            said += f" In its slowest phase 99 of 100 calls took at most {max(measured):.0f} ms{limit}."
    if run.endpoint and run.endpoint.capacity:
        said += f" One instance takes {run.endpoint.capacity.max_rps_per_instance:.1f} requests a second."
    return said


def short(arn: str | None) -> str:
    """`musher-image-classifier/3` of a model package's ARN."""
    return arn.partition(":model-package/")[2] or arn if arn else "no model package"
