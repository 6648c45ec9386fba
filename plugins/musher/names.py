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
from typing import Any, Protocol

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
REHEARSE_ENDPOINT = Step("rehearsal", "model and endpoint configuration", 63)
COMPARE_MODELS = Step("comparison", "models and endpoint configuration", 63)
STEPS = (
    TUNE,
    TRAIN_ONE,
    TRAIN_MANY,
    EVALUATE_IN_SERVICE,
    TRAIN_ON_EC2,
    DEPLOY_ENDPOINT,
    REHEARSE_ENDPOINT,
    COMPARE_MODELS,
)

ALIAS = "live"  # the alias that callers of the function name; provisioned concurrency sits on the version behind it
VARIANT = "AllTraffic"  # the one production variant of the endpoint

EXPIRES = "expires"  # the tag of what a rehearsal or a comparison made

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

    def tags(self, project: str, expires: str = "") -> dict[str, str]:
        """What everything billed is tagged with, so that it can be found and removed.

        Parameters: `expires` from when on whoever reports the running costs removes it (ISO 8601, UTC); empty: never.
        """
        tags = {"project": label(project), "dag": label(self.dag_id), "run": label(self.run_id)}
        return {**tags, EXPIRES: label(expires)} if expires else tags

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


PRODUCTION, REHEARSAL = "production", "rehearsal"

# The longest name that AWS allows. Source: as above; logs and CloudWatch API references for the last two.
_STACK_LIMITS = {"endpoint": 63, "function": 64, "role": 64, "log_group": 512, "scaling_alarms": 255}
_SCALING_ALARM_END = len("AlarmHigh-00000000-0000-0000-0000-000000000000")


class _Roles(Protocol):
    """What of config.Environment, which checks its project's name here, a stack needs."""

    @property
    def lambda_role_arn(self) -> str: ...

    @property
    def lambda_rehearsal_role_arn(self) -> str: ...


@dataclass(frozen=True)
class Stack:
    """Everything that serves together under names of its own: an endpoint, and the function in front of it.

    A project has one that serves, and one that a release rehearses with beside it.
    """

    project: str
    rehearsal: bool = False

    @classmethod
    def named(cls, project: str, name: str) -> Stack:
        """The stack that an operator was told to work on: "production" or "rehearsal". Raises ConfigError."""
        if name not in (PRODUCTION, REHEARSAL):
            raise ConfigError(f"stack is {name!r}; it has to be {PRODUCTION} or {REHEARSAL}.")
        return cls(project, name == REHEARSAL)

    @property
    def name(self) -> str:
        return REHEARSAL if self.rehearsal else PRODUCTION

    @property
    def endpoint(self) -> str:
        """The endpoint's name: the same for every deployment, which updates it."""
        return self._end("image-classifier")

    @property
    def function(self) -> str:
        return self._end("classifier")

    @property
    def role(self) -> str:
        """The name of the function's role, as infra/musher.yaml gives it."""
        return self._end("lambda")

    @property
    def log_group(self) -> str:
        """Where Lambda writes what the function says."""
        return f"/aws/lambda/{self.function}"

    @property
    def scaling_alarms(self) -> str:
        """How the names of the alarms begin that Application Auto Scaling makes for the endpoint."""
        return scaling_alarms(self.endpoint)

    @property
    def step(self) -> Step:
        """What the models and endpoint configurations of a run are named after."""
        return REHEARSE_ENDPOINT if self.rehearsal else DEPLOY_ENDPOINT

    def role_arn(self, env: _Roles) -> str:
        """The function's role. A rehearsal's may call nothing but the rehearsal's endpoint, where there is one."""
        return (self.rehearsal and env.lambda_rehearsal_role_arn) or env.lambda_role_arn

    def check(self) -> None:
        """Raises ConfigError when AWS would refuse one of the names."""
        for what, limit in _STACK_LIMITS.items():
            name = getattr(self, what)
            over = len(name) + (_SCALING_ALARM_END if what == "scaling_alarms" else 0) - limit
            if over > 0:
                raise ConfigError(
                    f"project is {self.project!r}, which gives the name {name!r} where AWS allows {limit} characters: "
                    f"choose a project of at most {len(self.project) - over} characters."
                )

    def _end(self, end: str) -> str:
        return f"{self.project}-{end}{'-rehearsal' if self.rehearsal else ''}"


def serving_alarms(endpoint: str) -> str:
    """How the names of the alarms begin that watch an endpoint as long as it serves."""
    return f"{endpoint}-serving-"


def release_alarms(endpoint: str) -> str:
    """How the names of the alarms begin by which a release is taken back."""
    return f"{endpoint}-release-"


def scaling_alarms(endpoint: str) -> str:
    """How the names of the alarms begin that Application Auto Scaling makes for an endpoint."""
    return f"TargetTracking-endpoint/{endpoint}/variant/{VARIANT}-"


def comparison_endpoint(project: str) -> str:
    """The endpoint on which two models are compared: one a project, and only while they are."""
    return f"{project}-image-classifier-comparison"


def model_package_group(project: str) -> str:
    """The name of the group that the project's models are registered in."""
    return f"{project}-image-classifier"


def check_project(project: str) -> str:
    """The project's name as given, if every name made from it fits.

    Raises ConfigError naming the longest project that would do.
    """
    run = Run("", "")
    for step in STEPS:
        run.name(project, step)
    for rehearsal in (False, True):
        Stack(project, rehearsal).check()
    return project
