"""What all our operators share: the run's facts, and errors meant for a person."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping
from typing import Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from musher import names, record
from musher.config import AWS_CONN_ID, ComparisonConfig, DeploymentConfig, Environment, TrainingConfig
from musher.errors import UserError
from musher.hooks.aws import AwsHook
from musher.hooks.notifications import notify
from musher.names import Run


def plainly(method: Callable) -> Callable:
    """Turn an error that a person has to mend into a failed task without retries, whose message is that sentence."""

    @functools.wraps(method)
    def wrapped(self, context, *arguments, **keywords):
        try:
            return method(self, context, *arguments, **keywords)
        except UserError as error:
            raise AirflowFailException(str(error)) from None

    return wrapped


class MusherOperator(AwsBaseOperator):
    """Base of the project's operators: connects through `aws_default`, reads the Variable `musher` when it runs.

    Parameters: `needed` False for a task that this run leaves out; those that are told by a task before have it among
    their template fields.
    """

    aws_hook_class = AwsHook
    ui_color = "#e8f1fb"

    def __init__(self, *, needed: Any = True, aws_conn_id: str = AWS_CONN_ID, **kwargs: Any) -> None:
        super().__init__(aws_conn_id=aws_conn_id, **kwargs)
        self.needed = needed
        # Airflow puts a copy of the DAG's form into each task, and checks every field of each copy when it writes the
        # DAG down: half of the time that a DAG takes to be read. A run has the form from the DAG (process_params).
        self.params = ParamsDict()

    def pre_execute(self, context: Any) -> None:
        if not self.needed:
            raise AirflowSkipException("This run leaves the task out.")
        super().pre_execute(context)

    @functools.cached_property
    def hook(self) -> Any:
        """The operator's hook, in the environment's region."""
        return self.aws_hook_class(aws_conn_id=self.aws_conn_id, region_name=self.environment.region)

    @functools.cached_property
    def environment(self) -> Environment:
        """The facts of the environment. Raises ConfigError when the Variable is missing or wrong."""
        return Environment.load()

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client through the Airflow connection; `config` are botocore Config settings.

        Without any it is the same one each time.
        """
        if config:
            from botocore.config import Config

            return self.client_factory(service, Config(**config))
        if service not in self._clients:  # to make one takes as long as ten calls of it
            self._clients[service] = self.client_factory(service, None)
        return self._clients[service]

    @functools.cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client_factory(self, service: str, config: Any) -> Any:
        """The load generator's way to clients: with a botocore Config of its own."""
        return AwsHook(
            aws_conn_id=self.aws_conn_id, client_type=service, region_name=self.environment.region, config=config
        ).get_conn()

    def notify(self, subject: str, message: str) -> str:
        """Publish a message to the topic of the Variable; empty, or a sentence on why it was not published."""
        return notify(self.environment, subject, message, aws_conn_id=self.aws_conn_id, log=self.log)

    def write_part(self, run_key: str, part: record.Part) -> None:
        """Write one part of the run record."""
        uri = record.write(self.client("s3"), self.environment.bucket, run_key, part)
        self.log.info("Wrote %s", uri)


class StackOperator(MusherOperator):
    """Base of the operators that work on one of the project's stacks.

    Parameters: `stack` "production" or "rehearsal" (names.Stack).
    """

    def __init__(self, *, stack: Any = names.PRODUCTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack = stack

    @functools.cached_property
    def named(self) -> names.Stack:
        """The names of what serves together. Raises ConfigError for a stack that there is not."""
        return names.Stack.named(self.environment.project, self.stack)

    def expires(self, context: Mapping[str, Any]) -> str:
        """From when on what this run makes for a rehearsal is nobody's any more, as names.Run.tags takes it; empty for
        what serves."""
        if not self.named.rehearsal:
            return ""
        limit = dt.timedelta(seconds=deployment_config(context).rehearsal_limit_seconds)
        return (dt.datetime.now(dt.UTC) + limit).isoformat(timespec="seconds")


# A run of these kinds has nobody who filled in its form.
STARTED_BY_ITSELF = {"scheduled", "asset_triggered"}


def training_config(context: Mapping[str, Any]) -> TrainingConfig:
    """What this run was told, checked. Raises ConfigError."""
    return TrainingConfig.from_params(_told(context, "training"))


def deployment_config(context: Mapping[str, Any]) -> DeploymentConfig:
    """What this run was told, checked. Raises ConfigError."""
    return DeploymentConfig.from_params(_told(context, "deployment"))


def comparison_config(context: Mapping[str, Any]) -> ComparisonConfig:
    """What this run was told, checked. Raises ConfigError."""
    return ComparisonConfig.from_params(dict(context["params"]))


def _told(context: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The run's params; where it started by itself, with what the Variable says of such runs."""
    kind = getattr(context.get("dag_run"), "run_type", "")
    if getattr(kind, "value", kind) not in STARTED_BY_ITSELF:
        return dict(context["params"])
    return {**context["params"], **getattr(Environment.load(), field)}


def run_of(context: Mapping[str, Any]) -> Run:
    return Run.from_context(context)
