"""What a person may choose for deployment and its load test."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from musher import images, instances
from musher.config.fields import Configuration, Share, option

# What a rehearsal takes at most beside the scaling: its endpoint (operators/endpoint.py), its function
# (hooks/function.py, three waits), and an hour to measure in.
_REHEARSAL_SECONDS = 3600 + 3 * 900 + 3600


class DeploymentConfig(Configuration):
    """What a person may choose for `deploy_image_classifier`."""

    model_package_arn: str = option(
        "",
        "Endpoint",
        "Model package",
        "The registered model to deploy. Empty: the newest approved one.",
        pattern=r"^(arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/\S+)?$",
        examples=["arn:aws:sagemaker:us-east-1:111122223333:model-package/musher-image-classifier/3"],
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
    max_cost_usd: float = option(
        25.0,
        "Cost",
        "Maximum cost (USD)",
        "A run whose projected cost is higher launches nothing. What keeps running afterwards is not included: the "
        "first task logs what it costs a month.",
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
        if self.instance_type != type(self).model_fields["instance_type"].default:
            instances.check("instance_type", self.instance_type, instances.ENDPOINT)
            images.device("instance_type", self.instance_type, images.INFERENCE)
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
