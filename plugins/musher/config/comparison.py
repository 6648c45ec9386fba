"""What a person may choose for the comparison of two models."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from musher.config.endpoint import MODEL_PACKAGE, check_endpoint_type
from musher.config.fields import Configuration, Share, option


class ComparisonConfig(Configuration):
    """What a person may choose for `compare_models`."""

    model_package_arn_a: str = option(
        "",
        "Models",
        "Model package a",
        "A registered model, whatever its status. Empty: the one in service; where nothing serves, the newest approved "
        "one.",
        **MODEL_PACKAGE,
    )
    model_package_arn_b: str = option(
        "",
        "Models",
        "Model package b",
        "The one to hold against it. Empty: the newest approved one that is not a. The same as a: shows what noise "
        "looks like.",
        **MODEL_PACKAGE,
    )
    instance_type: str = option(
        "ml.m5.large",
        "Endpoint",
        "Instance type",
        "What both models run on, on an instance each.",
        examples=["ml.m5.large", "ml.m5.xlarge", "ml.c5.large", "ml.c5.xlarge", "ml.g4dn.xlarge"],
    )
    latency_limit_ms: float = option(
        500,
        "Load",
        "Latency limit (ms)",
        "The capacity of a model is the highest rate at which 99 of 100 predictions are faster than this.",
        gt=0,
        le=60_000,
    )
    rounds: int = option(
        8,
        "Load",
        "Rounds",
        "How often both models are taken from a low rate to the highest that they take. More rounds show smaller "
        "differences.",
        ge=4,
        le=50,
    )
    step_seconds: float = option(
        5, "Load", "Seconds at a rate", "How long each rate is offered to a model in each round.", gt=0, le=120
    )
    pictures: int = option(
        200,
        "Load",
        "Labelled pictures",
        "How many test pictures, about as many of each class, both models are asked about. Accuracy and agreement "
        "rest on them; a test set that has fewer is taken whole.",
        ge=30,
        le=2000,
    )
    confidence: float = option(
        0.95,
        "Verdict",
        "Confidence",
        "How sure all differences that are claimed have to be together: of a hundred comparisons of a model with "
        "itself, five may claim one at 0.95.",
        ge=0.5,
        le=0.999,
    )
    margin: Share = option(
        0.05,
        "Verdict",
        "Instances differ by",
        "Latency and capacity of two instances with the same model may differ by this share: only what is certainly "
        "more is a difference of the models.",
    )
    max_cost_usd: float = option(
        5.0, "Cost", "Maximum cost (USD)", "A run whose projected cost is higher launches nothing.", ge=0
    )

    @model_validator(mode="after")
    def _instance_type_exists(self) -> Self:
        check_endpoint_type(self)
        return self

    @property
    def load_seconds(self) -> float:
        """How long the load takes as a rule: a search for the highest rate, the rounds, the labelled pictures."""
        return 2 * (SEARCH_STEPS + self.rounds * STEPS_OF_A_ROUND) * self.step_seconds + self.pictures

    @property
    def load_limit_seconds(self) -> float:
        """After this no round begins any more."""
        return 2 * self.load_seconds

    @property
    def limit_seconds(self) -> float:
        """How long everything that was made for a comparison may stand, each task tried twice."""
        return 2 * (3600 + self.load_limit_seconds + 3600)


# Rates of a model until its highest is known to a factor of two, and from a quarter of that up to what is not taken.
SEARCH_STEPS, STEPS_OF_A_ROUND = 8, 10
