"""What a person may choose for training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from musher import images, instances
from musher.config import diagnostics
from musher.config.fields import Configuration, Share, option


class TrainingConfig(Configuration):
    """What a person may choose for `train_image_classifier`."""

    dataset: str = option(
        "",
        "Data",
        "Data set",
        "A folder, a .zip, .tgz or .tar.gz, an http(s) address of one, or an s3:// prefix, with train/, valid/ "
        "and test/ (one folder per class) at any depth. Empty: train on what is already in the bucket.",
    )
    dataset_name: str = option(
        "images",
        "Data",
        "Name of the data set",
        "The data set's folder in the bucket, `dataset/<name>/`.",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        examples=["images"],
    )
    delete_removed: bool = option(
        False,
        "Data",
        "Delete what was removed",
        "Delete from the bucket what the source no longer has. Off: pictures are only added or replaced.",
    )
    max_unreadable_share: Share = option(
        0.05,
        "Data",
        "Unreadable pictures allowed",
        "The share of files that may turn out not to be images before the run fails; each one is listed.",
    )
    backbone: Literal["efficientnet_lite0", "resnet18", "resnet50"] = option(
        "efficientnet_lite0",
        "Model",
        "Backbone",
        "The pretrained network. EfficientNet-Lite0 needs no model hub: its weights come with a Python package.",
    )
    pretrained_source: str = option(
        "",
        "Model",
        "Pretrained weights",
        "A file, or an http(s) address followed by `#sha256=<digest>`. Empty: the backbone's own source.",
    )
    finetune: Literal["head", "all"] = option(
        "head", "Model", "Train", "Only the head (the backbone's features are computed once), or the whole network."
    )
    head: Literal["hidden", "linear"] = option(
        "hidden", "Model", "Head", "One hidden layer of 128, or a single linear layer."
    )
    epochs: int = option(
        10,
        "Training",
        "Epochs",
        "Passes over the training pictures in the final training jobs; the best one is kept.",
        ge=1,
        le=1000,
    )
    augment_views: int = option(
        0, "Training", "Augmented views", "Extra randomly altered views of each training picture.", ge=0, le=100
    )
    patience: int = option(
        0,
        "Training",
        "Patience",
        "Stop after this many epochs without a better validation loss. 0: never.",
        ge=0,
        le=1000,
    )
    seed: int = option(
        0,
        "Training",
        "Seed",
        "Where every random choice starts: the same seed gives the same model.",
        ge=0,
        le=2**31 - 1,
    )
    training_instance_type: str = option(
        "ml.m5.xlarge",
        "Training",
        "Instance type",
        "What trials and training jobs run on.",
        examples=["ml.m5.xlarge", "ml.m5.2xlarge", "ml.c5.xlarge", "ml.g4dn.xlarge", "ml.g5.xlarge"],
    )
    paths: Literal["one", "several", "both"] = option(
        "one",
        "Training",
        "Train on",
        "One instance, several that share the work, or both, one after the other: to compare them, at twice the cost.",
    )
    instance_count: int = option(
        2,
        "Training",
        "Instances",
        "How many instances the training on several uses.",
        ge=2,
        le=20,
    )
    volume_gb: int = option(
        30,
        "Training",
        "Disk (GB)",
        "Disk of each training instance: it holds the data set and the model.",
        ge=1,
        le=16_384,
    )
    max_runtime_seconds: int = option(
        3600,
        "Training",
        "Longest job (seconds)",
        "A job that runs longer is stopped, so that nothing is billed forever.",
        ge=60,
        le=432_000,
    )
    managed_spot: bool = option(
        False,
        "Training",
        "Managed Spot",
        "Run trials and training jobs on Spot capacity: cheaper, and AWS may interrupt a job, which then waits for "
        "capacity and goes on from its checkpoint.",
    )
    max_wait_seconds: int = option(
        7200,
        "Training",
        "Longest wait on Spot (seconds)",
        "With managed Spot: a job that has not ended by then, waiting for capacity included, is stopped.",
        ge=60,
        le=864_000,
    )
    strategy: Literal["Bayesian", "Random", "Grid"] = option(
        "Bayesian",
        "Tuning",
        "Search",
        "How trials are chosen. Grid takes every batch size at the lowest, middle and highest learning rate.",
    )
    max_jobs: int = option(4, "Tuning", "Trials", "At most this many training jobs are tried.", ge=1, le=500)
    max_parallel_jobs: int = option(
        2,
        "Tuning",
        "Trials at a time",
        "More at a time is faster; fewer lets a Bayesian search learn from more finished trials.",
        ge=1,
        le=10,
    )
    learning_rate_min: float = option(
        0.001,
        "Tuning",
        "Learning rate from",
        "Lowest learning rate; the range is searched on a logarithmic scale.",
        gt=0,
        le=10,
    )
    learning_rate_max: float = option(0.1, "Tuning", "Learning rate to", "Highest learning rate.", gt=0, le=10)
    batch_sizes: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = option(
        (32, 64, 128),
        "Tuning",
        "Batch sizes",
        "The batch sizes to choose from, over all instances together, as a JSON list.",
        min_length=1,
        max_length=30,
    )
    tuning_epochs: int = option(
        5, "Tuning", "Epochs of a trial", "Passes over the training pictures in each trial.", ge=1, le=1000
    )
    early_stopping: bool = option(
        True, "Tuning", "Stop bad trials early", "End a trial that does worse than the median of the earlier ones."
    )
    rules: str = option(
        "default",
        "Diagnostics",
        "Rules",
        "Which rules watch trials and training jobs: `default`, `aws` (with AWS's parameters) or `none`, then rules "
        "that differ, after commas, such as `default,Overfit:off,VanishingGradient:threshold=1e-6`.",
        pattern=r"^\w+(:[\w=.+-]+)*(,\w+(:[\w=.+-]+)*)*$",
        examples=["default,Overfit:off"],
    )
    profile: str = option(
        "default",
        "Diagnostics",
        "Profile",
        "What is recorded of the time of trials and training jobs: `default` (instances every 500 ms, and where each "
        "step's time goes), `aws` (AWS's parameters for its rules) or `none`, then what differs, after commas, such as "
        "`default,system:100,trace:10,StepOutlier:off`; `trace` keeps so many steps for Perfetto.",
        pattern=r"^(default|aws|none|(system|steps|trace)(:(off|\d+))?|[A-Z]\w*(:[\w=.+-]+)*)"
        r"(,((system|steps|trace)(:(off|\d+))?|[A-Z]\w*(:[\w=.+-]+)*))*$",
        examples=["default,trace:10"],
    )
    on_issue: Mapping[str, str] = diagnostics.on_issue_option()
    max_remedies: int = diagnostics.max_remedies_option()
    accuracy_floor: Share = option(
        0.6,
        "Acceptance",
        "Lowest accuracy",
        "A model below this accuracy on the test pictures is registered as Rejected.",
    )
    worst_class_floor: Share = option(
        0.2,
        "Acceptance",
        "Lowest accuracy of any class",
        "A model whose accuracy on any single class is below this is registered as Rejected.",
    )
    max_regression: Share = option(
        0.02,
        "Acceptance",
        "Loss of accuracy allowed",
        "A model whose accuracy is below that of the model in service by more than this, on the same test pictures, is "
        "registered as Rejected.",
    )
    max_cost_usd: float = option(
        25.0,
        "Cost",
        "Maximum cost (USD)",
        "A run whose projected cost is higher launches nothing.",
        ge=0,
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.learning_rate_min >= self.learning_rate_max:
            raise ValueError(
                f"learning_rate_min is {self.learning_rate_min:g}; "
                f"it has to be below learning_rate_max, which is {self.learning_rate_max:g}."
            )
        if len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise ValueError(f"batch_sizes is {list(self.batch_sizes)}; each batch size may appear only once.")
        if self.max_parallel_jobs > self.max_jobs:
            raise ValueError(
                f"max_parallel_jobs is {self.max_parallel_jobs}; it has to be at most max_jobs, "
                f"which is {self.max_jobs}."
            )
        if self.strategy == "Grid" and self.grid_size > self.max_jobs:
            raise ValueError(
                f"max_jobs is {self.max_jobs}; strategy Grid tries every combination, "
                f"{len(self.grid_learning_rates)} learning rates with {len(self.batch_sizes)} batch sizes, "
                f"so it has to be at least {self.grid_size}."
            )
        if self.managed_spot and self.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError(
                f"max_wait_seconds is {self.max_wait_seconds}; with managed_spot it has to be at least "
                f"max_runtime_seconds, which is {self.max_runtime_seconds}."
            )
        diagnostics.check(self.on_issue, self.rules, self.profile)
        if self.training_instance_type != type(self).model_fields["training_instance_type"].default:
            instances.check("training_instance_type", self.training_instance_type, instances.TRAINING)
            images.device("training_instance_type", self.training_instance_type, images.TRAINING)
        return self

    @property
    def grid_learning_rates(self) -> tuple[float, float, float]:
        """The learning rates of a grid search: lowest, geometric mean, highest."""
        low, high = self.learning_rate_min, self.learning_rate_max
        return low, float(f"{math.sqrt(low * high):.6g}"), high

    @property
    def instance_counts(self) -> tuple[int, ...]:
        """How many instances each final training job has."""
        return {"one": (1,), "several": (self.instance_count,), "both": (1, self.instance_count)}[self.paths]

    @property
    def longest_job_seconds(self) -> int:
        """How long a trial or training job may take once it has begun: on managed Spot its waiting counts, too."""
        return self.max_wait_seconds if self.managed_spot else self.max_runtime_seconds

    @property
    def grid_size(self) -> int:
        """How many trials a grid search takes."""
        return len(self.grid_learning_rates) * len(self.batch_sizes)
