"""What a person may choose for deployment and its load test."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from musher import instances
from musher.config.endpoint import MODEL_PACKAGE, check_endpoint_type
from musher.config.fields import Configuration, Share, option

# What a rehearsal takes at most beside the scaling: its endpoint (operators/endpoint.py), its function
# (hooks/function.py, three waits), and an hour to measure in.
_REHEARSAL_SECONDS = 3600 + 3 * 900 + 3600


# From the last heartbeat of a release to the alarm: two periods of a minute without one, and CloudWatch's own delay.
ALARM_SECONDS = 240


class DeploymentConfig(Configuration):
    """What a person may choose for `deploy_image_classifier`."""

    model_package_arn: str = option(
        "",
        "Endpoint",
        "Model package",
        "The registered model to deploy. Empty: the newest approved one.",
        **MODEL_PACKAGE,
    )
    instance_type: str = option(
        "ml.m5.large",
        "Endpoint",
        "Instance type",
        "What the endpoint runs on. Burstable types (t2, t3) cannot scale automatically.",
        examples=["ml.m5.large", "ml.m5.xlarge", "ml.c5.large", "ml.c5.xlarge", "ml.g4dn.xlarge"],
    )
    min_instances: int = option(
        1,
        "Endpoint",
        "Minimum instances",
        "How many instances keep running without traffic: this is what an idle endpoint costs.",
        ge=1,
        le=100,
    )
    max_instances: int = option(
        3,
        "Endpoint",
        "Maximum instances",
        "How far the endpoint may scale out. If this equals min_instances, it does not scale.",
        ge=1,
        le=100,
    )
    safety_factor: float = option(
        0.5,
        "Endpoint",
        "Safety factor",
        "Share of one instance's measured highest rate at which the endpoint scales out (AWS suggests 0.5).",
        gt=0,
        le=1,
    )
    scale_out_cooldown_seconds: int = option(
        300,
        "Endpoint",
        "Cool-down after scaling out (seconds)",
        "How long to wait after scaling out before scaling out again.",
        ge=0,
        le=86_400,
    )
    scale_in_cooldown_seconds: int = option(
        300,
        "Endpoint",
        "Cool-down before scaling in (seconds)",
        "How long to wait after scaling before scaling in.",
        ge=0,
        le=86_400,
    )
    capture_percent: int = option(
        0,
        "Endpoint",
        "Captured calls (%)",
        "The share of the calls that the endpoint keeps in the bucket, below `capture/`: picture and answer, to see "
        "what it is asked. They are somebody's pictures, and are deleted after the stack's `CaptureDays`; until then "
        "a million of 100 KB cost some 3 USD a month. 0: none.",
        ge=0,
        le=100,
    )
    reserved_concurrency: int = option(
        10,
        "Function",
        "Reserved concurrency",
        "At most this many calls of the function run at once; any further call is throttled (429).",
        ge=1,
        le=900,
    )
    provisioned_concurrency: int = option(
        2,
        "Function",
        "Provisioned concurrency",
        "Environments of the function that are kept initialised, so that this many simultaneous calls see no cold "
        "start.",
        ge=1,
        le=900,
    )
    function_memory_mb: int = option(
        256,
        "Function",
        "Memory (MB)",
        "Memory of the function; its share of a CPU grows with it, so less memory means longer cold starts.",
        ge=128,
        le=10_240,
    )
    function_timeout_seconds: int = option(
        30, "Function", "Time-out (seconds)", "A call of the function that takes longer is ended.", ge=1, le=900
    )
    function_url: Literal["none", "signed"] = option(
        "none",
        "Function",
        "Address",
        "An HTTPS address for callers who sign their calls with IAM (`lambda:InvokeFunctionUrl` and "
        "`lambda:InvokeFunction` on the alias); none answers unsigned ones.",
    )
    latency_limit_ms: float = option(
        500,
        "Load test",
        "Latency limit (ms)",
        "99 of 100 predictions have to be faster than this; also what the capacity of an instance is measured by.",
        gt=0,
        le=60_000,
    )
    max_error_rate: Share = option(
        0.01,
        "Load test",
        "Errors allowed",
        "The share of calls that may fail, not counting those throttled beyond the reserved concurrency.",
    )
    bursts: int = option(
        5, "Load test", "Bursts", "How many bursts of simultaneous calls each concurrency phase sends.", ge=1, le=1000
    )
    burst_interval_seconds: float = option(
        2,
        "Load test",
        "Between bursts (seconds)",
        "From the start of one burst to the start of the next.",
        gt=0,
        le=600,
    )
    overload_factor: float = option(
        3, "Load test", "Overload", "Calls at once beyond the reserved concurrency, as a multiple of it.", gt=1, le=20
    )
    scale_out_load: float = option(
        0.65,
        "Load test",
        "Load to scale out",
        "The load that must make the endpoint scale out, as a share of one instance's measured highest rate.",
        gt=0,
        le=5,
    )
    scale_out_limit_seconds: int = option(
        1200,
        "Load test",
        "Longest wait for scaling out (seconds)",
        "AWS needs three minutes above the target and a few more to start an instance.",
        ge=1,
        le=86_400,
    )
    scale_in_limit_seconds: int = option(
        2700,
        "Load test",
        "Longest wait for scaling in (seconds)",
        "AWS needs fifteen quiet minutes, and then the cool-down.",
        ge=1,
        le=86_400,
    )
    rehearsal: Literal["when_changed", "always", "never"] = option(
        "when_changed",
        "Release",
        "Rehearsal",
        "How a new model is tried out beside the one that serves before it takes any call. `when_changed` always asks "
        "it, and puts it under load unless a rehearsal of the same image, code, network, instances, function and plan "
        "has passed; `always` does all of it; `never` nothing. A first deployment is tried out where it will serve.",
    )
    approval: Literal["none", "before_release"] = option(
        "none",
        "Release",
        "Approval",
        "Whether somebody has to approve in the Airflow UI before the model takes calls.",
    )
    approval_limit_hours: float = option(
        24,
        "Release",
        "Time for approval (hours)",
        "A release that nobody has approved by then is rejected.",
        gt=0,
        le=24 * 30,
    )
    below_two_instances: Literal["raise", "all_at_once"] = option(
        "raise",
        "Release",
        "Below two instances",
        "A canary needs two instances. `raise` adds one for the time of the release; `all_at_once` gives the new model "
        "all calls and goes back if it is no good.",
    )
    canary_percent: int = option(
        50,
        "Release",
        "Canary (% of the instances)",
        "The share of the new instances that take calls while the judge compares them with the old ones.",
        ge=10,
        le=50,
    )
    bake_seconds: int = option(
        900,
        "Release",
        "Bake (seconds)",
        "How long the canary takes its share of the calls before AWS gives it all of them.",
        ge=60,
        le=3600,
    )
    final_bake_seconds: int = option(
        300,
        "Release",
        "Final bake (seconds)",
        "How long the old instances are kept, to go back to, once the new ones take all calls.",
        ge=0,
        le=3600,
    )
    judge_answers: int = option(
        150,
        "Release",
        "Answers to judge by",
        "How many answers the judge wants of the old and of the new model each; with fewer the release goes back.",
        ge=100,
        le=100_000,
    )
    judge_requests_per_second: float = option(
        15,
        "Release",
        "Judge's requests per second",
        "Labelled pictures sent to the endpoint during the bake.",
        gt=0,
        le=500,
    )
    slower_in_rehearsal_allowed: float = option(
        0.25,
        "Release",
        "Slower allowed in the rehearsal",
        "By what share of the latency of what serves a model may be slower before it is released; both are asked a few "
        "times, in turn. What is less is left to the judge.",
        ge=0,
        le=10,
    )
    slower_allowed: Share = option(
        0.10,
        "Release",
        "Slower allowed",
        "By what share of the old model's latency the new one may be slower.",
    )
    less_accurate_allowed: Share = option(
        0.02,
        "Release",
        "Less accurate allowed",
        "By what share of the labelled pictures the new model may be less accurate (0.02: two points).",
    )
    max_cost_usd: float = option(
        25.0,
        "Cost",
        "Maximum cost (USD)",
        "A run whose projected cost is higher launches nothing. What keeps running afterwards is not included: "
        "`check_projected_cost` logs what it costs a month.",
        ge=0,
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.provisioned_concurrency > self.reserved_concurrency:
            raise ValueError(
                f"reserved_concurrency is {self.reserved_concurrency}; it has to be at least provisioned_concurrency, "
                f"which is {self.provisioned_concurrency}, because provisioned environments count as reserved."
            )
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"min_instances is {self.min_instances}; "
                f"it has to be at most max_instances, which is {self.max_instances}."
            )
        if self.scales and instances.is_burstable(self.instance_type):
            raise ValueError(
                f"instance_type is {self.instance_type!r}, a burstable type, which AWS does not scale automatically: "
                f"choose another type such as ml.m5.large, or set max_instances to {self.min_instances}."
            )
        if self.scales and self.scale_out_load <= self.safety_factor:
            raise ValueError(
                f"scale_out_load is {self.scale_out_load:g}; it has to be above safety_factor, "
                f"which is {self.safety_factor:g}, or the endpoint has no reason to scale out."
            )
        needed = self.judge_answers / (self.judge_requests_per_second * self.canary_percent / 100) + ALARM_SECONDS
        if needed > self.bake_seconds:
            raise ValueError(
                f"bake_seconds is {self.bake_seconds}; it has to be at least {math.ceil(needed)}: {self.judge_answers} "
                f"answers of the canary take that long at {self.judge_requests_per_second:g} requests a second, and an "
                f"alarm {ALARM_SECONDS} seconds more. Choose a longer bake, more requests or fewer answers."
            )
        check_endpoint_type(self)
        return self

    @property
    def scales(self) -> bool:
        """Whether the endpoint scales automatically at all."""
        return self.max_instances > self.min_instances

    @property
    def rehearsal_limit_seconds(self) -> int:
        """How long a rehearsal can take at most: what each of its tasks waits for, and each of them tried twice."""
        scaling = self.scale_out_limit_seconds + 2 * self.scale_in_limit_seconds  # before the load test, and in it
        return 2 * (_REHEARSAL_SECONDS + scaling)
