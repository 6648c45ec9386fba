"""Operators against a local AWS, without Airflow around them: waits are waited out in line."""

from __future__ import annotations

import itertools
import json
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from musher.config import Environment
from musher.names import Run
from musher.operators.base import MusherOperator

from tests.local_aws.daemon import Daemon
from tests.local_aws.serving import IMAGE, archive
from tests.plugins.triggering import event_of
from tools import bootstrap

_NUMBERS = itertools.count(1)


class Project:
    """One project in the shared account: names of its own, so that tests do not meet; its tasks, run one by one."""

    def __init__(self, daemon: Daemon, environment: Environment) -> None:
        self.daemon, self.environment = daemon, environment
        self.name = environment.project
        self.sagemaker, self.s3 = daemon.client("sagemaker"), daemon.client("s3")
        self.run_as("deploy_image_classifier", "first")

    def run_as(self, dag_id: str, run_id: str, **params: Any) -> Run:
        """Whose tasks the following ones are."""
        self.run, self.params = Run(dag_id, f"{self.name}-{run_id}"), params
        return self.run

    @property
    def context(self) -> dict[str, Any]:
        dag_run = types.SimpleNamespace(dag_id=self.run.dag_id, run_id=self.run.run_id)
        return {"dag_run": dag_run, "params": self.params, "ti": types.SimpleNamespace(map_index=-1)}

    def task(self, kind: type[MusherOperator], **values: Any) -> MusherOperator:
        operator = kind(task_id="task", aws_conn_id=None, **values)
        operator.__dict__["environment"] = self.environment
        return operator

    def perform(self, kind: type[MusherOperator], seconds: float = 240, **values: Any) -> Any:
        """Run a task as Airflow would, each step in an operator of its own; its result."""
        step, more = "execute", {}
        deadline = time.monotonic() + seconds
        self.waits: list[str] = []
        while True:
            operator = self.task(kind, **values)
            try:
                return getattr(operator, step)(self.context, **more)
            except TaskDeferred as deferred:
                trigger, step, more = deferred.trigger, deferred.method_name, dict(deferred.kwargs or {})
            self.waits.append(step)
            more["event"] = event_of(trigger, deadline)

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket=self.environment.bucket, Key=f"{self.name}/{key}", Body=body)
        return f"s3://{self.environment.bucket}/{self.name}/{key}"

    def read_part(self, part: str) -> Any:
        key = f"runs/{self.run.key}/{part}.json"
        return json.loads(self.s3.get_object(Bucket=self.environment.bucket, Key=key)["Body"].read())

    def model_archive(self, name: str = "a", body: bytes | None = None) -> str:
        """A model that an endpoint serves within a second or two; its address."""
        return self.put(f"jobs/{name}/output/model.tar.gz", archive(name=name) if body is None else body)

    def package(self, model_data: str, *, status: str = "Approved", **more: Any) -> str:
        """A registered model package; its ARN."""
        group = self.environment.model_package_group
        if group not in self._groups():
            self.sagemaker.create_model_package_group(ModelPackageGroupName=group)
        return self.sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus=status,
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": model_data}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            **more,
        )["ModelPackageArn"]

    def _groups(self) -> set[str]:
        found = self.sagemaker.list_model_package_groups(NameContains=self.name)["ModelPackageGroupSummaryList"]
        return {each["ModelPackageGroupName"] for each in found}

    @property
    def endpoint(self) -> Mapping[str, Any]:
        """The project's endpoint, described."""
        return self.sagemaker.describe_endpoint(EndpointName=f"{self.name}-image-classifier")


@pytest.fixture(scope="module")
def new_project(request, start_daemon, tmp_path_factory) -> Iterator[Callable[[], Project]]:
    """Makes projects, in one local AWS for all tests of a file: `new_project()`. The file's MINUTE is how many seconds
    an AWS minute lasts there, one without it."""
    daemon = start_daemon(tmp_path_factory.mktemp("operators"), minute=getattr(request.module, "MINUTE", 1.0))
    values = {**bootstrap.prepare_account(daemon.client), "poll_seconds": 0.2}
    # The template's roles may do their part for the template's project; each test has a project of its own.
    files, invokes = ["s3:ListBucket", "s3:GetObject", "s3:PutObject"], ["sagemaker:InvokeEndpoint"]
    may = {"training": files, "endpoint": files, "lambda": invokes, "lambda-rehearsal": invokes}
    for role, actions in may.items():
        allowed = {"Effect": "Allow", "Action": [*actions, "logs:*"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        daemon.client("iam").put_role_policy(
            RoleName=f"{bootstrap.PROJECT}-{role}", PolicyName="for-tests", PolicyDocument=policy
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", daemon.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
        yield lambda: Project(daemon, Environment(**{**values, "project": f"p{next(_NUMBERS)}"}))
    daemon.stop()


@pytest.fixture
def project(new_project) -> Project:
    """A project in which nothing has been done yet."""
    return new_project()
