"""Two models that were put under the same load."""

from __future__ import annotations

from typing import ClassVar, Literal

from musher.record.part import Entry, Part


class ContestedModel(Entry):
    """One of the two: its package with version and status, the weights that its answers tell; `capacity_rps` the
    highest rate within the latency limit, None where it takes none, and then `refused` says why; `per_1000_usd` at that
    rate, and `accuracy` on the labelled pictures."""

    package_arn: str
    version: int | None = None
    status: str | None = None
    weights: list[str] = []
    sent: int = 0
    failed: int = 0
    capacity_rps: float | None = None
    per_1000_usd: float | None = None
    accuracy: float | None = None
    refused: str | None = None


class ModelDifference(Entry):
    """One thing in which the models may differ.

    `a` and `b` as measured: milliseconds, requests a second, or shares. `difference` of b to a with its interval, `low`
    to `high`: a ratio (`is_ratio`; 1.2: b has 20 % more), or a share of all (0.02: two points more). `smallest` is the
    smallest difference that would have been claimed in four of five such comparisons, in the same units (1.2, or 0.02).
    `better` the model that is, None where the difference is noise; `samples` what it rests on, in words. `missing` says
    why nothing could be compared.
    """

    name: str
    is_ratio: bool
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    smallest: float | None = None
    p_value: float | None = None
    better: Literal["a", "b"] | None = None
    samples: str = ""
    missing: str = ""


class AtRate(Entry):
    """Both models at one rate, requests of all rounds together; latencies in milliseconds.

    `p99_ms` None where there were fewer than 100. `ratio` of b's typical latency to a's with its interval, None where
    fewer than four rounds had both taking it. `taken` counts the rounds in which a model took the rate, of `offered`.
    """

    rps: float
    requests: dict[Literal["a", "b"], int]
    failed: dict[Literal["a", "b"], int]
    p50_ms: dict[Literal["a", "b"], float | None]
    p99_ms: dict[Literal["a", "b"], float | None]
    taken: dict[Literal["a", "b"], int]
    offered: dict[Literal["a", "b"], int]
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


class AgreementOfModels(Entry):
    """The share of the pictures on which both say the same, with its interval."""

    share: float
    low: float
    high: float
    pictures: int


class ModelComparison(Part):
    """Two models behind one endpoint, each on an instance of its own: what was measured and how they differ.

    `confidence` of all claims together, `margin` what instances differ by anyway; `conclusion` in sentences. `rounds`
    that were measured, of `rounds_wanted`; `instance_seconds` of both instances from the endpoint's creation to the end
    of the load, `calls` all requests. `notes` say what a reader has to know besides.
    """

    NAME: ClassVar[str] = "model_comparison"

    a: ContestedModel
    b: ContestedModel
    endpoint: str
    instance_type: str
    latency_limit_ms: float
    confidence: float
    margin: float
    rounds: int
    rounds_wanted: int
    differences: list[ModelDifference]
    by_rate: list[AtRate] = []
    agreement: AgreementOfModels | None = None
    conclusion: str
    notes: list[str] = []
    instance_seconds: float
    calls: int
