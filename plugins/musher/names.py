"""Names of what a run creates, and the limits AWS puts on them.

A name belongs to one step of one DAG run: the same on every try of the task, so that a retry finds what the first try
started, and different for every other run and map index. Source of the limits: the SageMaker and Lambda API references
(`TrainingJobName`, `HyperParameterTuningJobName`, `EndpointName`, `FunctionName`), as in botocore's models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from musher.errors import ConfigError


@dataclass(frozen=True)
class Step:
    """A step of a run that makes something under a name of its own.

    `makes` what AWS calls it; `limit` the most characters that AWS allows in its name.
    """

    name: str
    makes: str
    limit: int


TRAINING_JOB, TUNING_JOB = "training job", "tuning job"

TUNE = Step("tune", TUNING_JOB, 32)
TRAIN_ONE = Step("train-one", TRAINING_JOB, 63)
TRAIN_MANY = Step("train-many", TRAINING_JOB, 63)
EVALUATE_IN_SERVICE = Step("evaluate-in-service", TRAINING_JOB, 63)
TRAIN_ON_EC2 = Step("train-on-ec2", "EC2 instance", 63)  # named as a job would be: its folder is one of jobs/
DEPLOY_ENDPOINT = Step("endpoint", "model and endpoint configuration", 63)
STEPS = (TUNE, TRAIN_ONE, TRAIN_MANY, EVALUATE_IN_SERVICE, TRAIN_ON_EC2, DEPLOY_ENDPOINT)

ALIAS = "live"  # the alias that callers of the function name; provisioned concurrency sits on it
VARIANT = "AllTraffic"  # the one production variant of the endpoint

_HASH = 8
_ATTEMPT = len("-99")
_ALLOWED = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:_HASH]


def label(value: object) -> str:
    """A value fit for a tag or a model package's property, where AWS takes letters, digits, spaces and _ . : / = + - @.

    Anything else becomes a hyphen; at most 256 characters are kept.
    """
    return re.sub(r"[^\w .:/=+@-]", "-", str(value))[:256]


@dataclass(frozen=True)
class Run:
    """One DAG run: where its names, tags and record come from."""

    dag_id: str
    run_id: str

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Run:
        """The run a task belongs to, from Airflow's task context."""
        dag_run = context["dag_run"]
        return cls(dag_run.dag_id, dag_run.run_id)

    @property
    def key(self) -> str:
        """The run's folder under `runs/` in the bucket: its run id, fit for a URL, and a hash that tells DAGs apart."""
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', self.run_id).strip('-.')}-{_digest(self.dag_id, self.run_id)}"

    def tags(self, project: str) -> dict[str, str]:
        """What everything billed is tagged with, so that it can be found and removed."""
        return {"project": label(project), "dag": label(self.dag_id), "run": label(self.run_id)}

    def name(self, project: str, step: Step, *, map_index: int = -1) -> str:
        """`<project>-<step>-<hash of DAG, run and map index>`; three characters stay free for a later attempt's number.

        Parameters: `map_index` as Airflow counts (-1: not mapped).
        Raises ConfigError when the name cannot be made: too long, or characters AWS refuses.
        """
        name = f"{project}-{step.name}-{_digest(self.dag_id, self.run_id, map_index)}"
        if not _ALLOWED.fullmatch(name):
            raise ConfigError(
                f"project is {project!r}, which gives the name {name!r}: "
                "AWS takes letters, digits and hyphens, and no hyphen at either end."
            )
        if len(name) + _ATTEMPT > step.limit:
            room = step.limit - _ATTEMPT - _HASH - len(step.name) - 2
            raise ConfigError(
                f"project is {project!r}, which gives the name {name!r} of {len(name)} characters where AWS allows "
                f"{step.limit} and {_ATTEMPT} stay free for a later attempt: "
                f"choose a project of at most {max(room, 0)} characters."
            )
        return name


def attempt_names(base: str, attempts: int = 99) -> Iterator[str]:
    """The names a step may use one after the other: `base`, `base-2`, `base-3`...

    AWS keeps the name of a failed job for ever, so what starts anew after a failure takes the next one.
    """
    yield base
    for attempt in range(2, attempts + 1):
        yield f"{base}-{attempt}"


def endpoint(project: str) -> str:
    """The endpoint's name: one per project, the same for every deployment, which updates it."""
    return f"{project}-image-classifier"


def function(project: str) -> str:
    """The Lambda function's name: one per project."""
    return f"{project}-classifier"


def model_package_group(project: str) -> str:
    """The default name of the group that the project's models are registered in."""
    return f"{project}-image-classifier"


def check_project(project: str) -> str:
    """The project's name as given, if every name made from it fits.

    Raises ConfigError naming the longest project that would do.
    """
    run = Run("", "")
    for step in STEPS:
        run.name(project, step)
    return project
