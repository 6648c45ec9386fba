"""The project brought into an account, step by step; each step leaves alone what is as asked for.

An attempt that was broken off is repeated: every step looks at what is there, and waits for what is under way. DAGs
come last, when the environment runs the plugins that they were written with.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tools import infrastructure, package
from tools.cloudformation import FOLDER, InfrastructureError, Stack, Waiting, checked, load, said
from tools.deployment import upload
from tools.deployment.account import Account
from tools.deployment.environment import Environment
from tools.deployment.settings import Settings

# An environment takes longer than anything else: it is asked after three times a minute.
ENVIRONMENT_POLL_SECONDS = 20
ENVIRONMENT = "Environment"  # its name in infra/mwaa.yaml


class Deployment:
    """One run of `make deploy`."""

    def __init__(self, account: Account, settings: Settings, poll_seconds: float = ENVIRONMENT_POLL_SECONDS) -> None:
        self.account, self.settings = account, settings
        self.say = account.say
        self.quick = Waiting(say=self.say)
        self.slow = Waiting(poll_seconds, settings.wait_minutes, self.say)
        self.not_made: list[str] = []

    def run(self, root: Path | None = None) -> str:
        """Do all of it; the address of Airflow's UI.

        Raises InfrastructureError, NotPackable, ClientError or BotoCoreError. An AWS without MWAA gets everything else
        before the first of these.
        """
        settings, client = self.settings, self.account.client
        packed = begin(self.account, settings, root)
        vpc, subnets = self._network()
        project = self._stack(settings.project, "musher", settings.musher_parameters(vpc, subnets), self.quick)
        variable = infrastructure.variable_values(project.outputs())
        parameters = upload.put_package(client("s3"), settings.bucket, packed)
        self.say(f"Plugins and requirements: {parameters['PluginsPath']}, {parameters['RequirementsPath']}")
        environment = self._environment(settings.mwaa_parameters(vpc, subnets, parameters), parameters)
        self._variable(variable)
        uploaded, removed = upload.put_dags(client("s3"), settings.bucket, packed)
        self.say(f"DAGs, with ml_scripts and lambda: {uploaded} files uploaded, {removed} removed")
        for each in self.not_made:
            self.say(f"Not made by this CloudFormation: {each}")
        if environment is None:
            raise InfrastructureError(
                "This AWS has no Amazon MWAA: everything else is deployed, and there is no Airflow and no UI. "
                "`make demo` runs the same DAGs in an Airflow of this machine."
            )
        return f"https://{environment['WebserverUrl']}"

    def _network(self) -> tuple[str, tuple[str, ...]]:
        """The VPC and the subnets, made here unless they are named."""
        settings = self.settings
        if not settings.network.is_new:
            check_subnets(self.account, settings)
            return settings.network.vpc, settings.network.subnets
        made = self._stack(settings.network_stack, "network", settings.network_parameters(), self.quick).outputs()
        return made["VpcId"], tuple(made["SubnetIds"].split(","))

    def _environment(self, parameters: Mapping[str, Any], running: Mapping[str, str]) -> dict[str, Any] | None:
        """The environment with its new package; none where CloudFormation did not make it."""
        name = self.settings.mwaa_stack
        environment = Environment(self.account.client("mwaa"), self.settings.project, self.slow)
        before = Stack(self.account.client, name, self.slow)
        before.settle()
        if before.described() and before.resources().get(ENVIRONMENT):
            environment.settle()  # maintenance, or an update by hand, which CloudFormation would run into
        stack = self._stack(name, "mwaa", parameters, self.slow)
        if not stack.resources().get(ENVIRONMENT):
            return None
        return environment.running(running)

    def _stack(self, name: str, template: str, parameters: Mapping[str, object], waiting: Waiting) -> Stack:
        """A stack as its template and parameters ask for; what CloudFormation leaves out is remembered."""
        body = (FOLDER / f"{template}.yaml").read_text()
        content = load(body)
        given = checked(parameters, content)
        stack = Stack(self.account.client, name, waiting)
        stack.settle()
        changed = stack.deploy(body, given, self.settings.project)
        self.say(f"The stack {name}: {'deployed' if changed else 'nothing to change'}")
        self.not_made += stack.not_made(content, given)
        return stack

    def _variable(self, values: Mapping[str, Any]) -> None:
        """Fill the secret that Airflow reads its Variable `musher` from, when it holds something else."""
        client, name = self.account.client("secretsmanager"), variable_name(self.settings.project)
        text = variable_text(values)
        if secret(self.account, self.settings) == text:
            self.say(f"The Variable musher ({name}): nothing to change")
            return
        try:
            client.put_secret_value(SecretId=name, SecretString=text)
        except ClientError as error:
            # The stack makes it, without a value; another CloudFormation may not, and a person may have deleted it.
            _unless_missing(error)
            tags = [{"Key": "project", "Value": self.settings.project}]
            client.create_secret(Name=name, Description="Airflow's Variable musher.", SecretString=text, Tags=tags)
        self.say(f"The Variable musher ({name}): set")


def begin(account: Account, settings: Settings, root: Path | None) -> package.Package:
    """Whose credentials these are, what is deployed, and what is to be known of it beforehand; the package.

    Raises InfrastructureError or NotPackable.
    """
    who = account.check(settings.account)
    account.say(f"{settings.name}: project {settings.project} in {settings.account}, {settings.region}, as {who}")
    packed = package.pack(root or package.ROOT)
    manifest = packed.manifest
    account.say(f"The package: commit {manifest['commit'][:12]}, for Airflow {manifest['airflow']}")
    for warning in _images_out_of_support(settings):
        account.say(warning)
    return packed


def _images_out_of_support(settings: Settings) -> Iterator[str]:
    """A sentence on each image that jobs or endpoints run in, and that AWS no longer patches, or soon will not."""
    sys.path.insert(0, str(package.ROOT / "plugins"))  # as Airflow does
    from musher import images, instances

    for purpose, parameter in ((images.TRAINING, "TrainingImage"), (images.INFERENCE, "InferenceImage")):
        image = settings.musher.get(parameter) or images.image(purpose, instances.CPU, settings.region)
        if sentence := images.support(image, dt.datetime.now(dt.UTC).date()):
            yield sentence


def check_subnets(account: Account, settings: Settings) -> None:
    """Whether the subnets are what MWAA takes, which it would only say after half an hour.

    Raises InfrastructureError.
    """
    network = settings.network
    try:
        answer = account.client("ec2").describe_subnets(SubnetIds=list(network.subnets))
    except ClientError as error:
        raise InfrastructureError(f"The subnets cannot be looked at: {said(error)}") from None
    for each in answer["Subnets"]:
        if each["VpcId"] != network.vpc:
            raise InfrastructureError(f"{each['SubnetId']} is in {each['VpcId']}, not in {network.vpc}.")
    zones = {each["AvailabilityZone"] for each in answer["Subnets"]}
    if len(zones) < 2:
        raise InfrastructureError(
            f"Both subnets are in {', '.join(zones)}; Amazon MWAA asks for two private subnets in two zones."
        )


def variable_text(values: Mapping[str, Any]) -> str:
    """The Variable `musher` as the secret holds it."""
    return json.dumps(values, indent=1, sort_keys=True)


def secret(account: Account, settings: Settings) -> str | None:
    """What the secret that Airflow reads its Variable `musher` from holds now. Raises InfrastructureError."""
    client = account.client("secretsmanager")
    try:
        return client.get_secret_value(SecretId=variable_name(settings.project)).get("SecretString")
    except ClientError as error:
        return _unless_missing(error)


def variable_name(project: str) -> str:
    """The secret of infra/mwaa.yaml."""
    return f"{project}/variables/musher"


def _unless_missing(error: ClientError) -> None:
    if error.response["Error"]["Code"] != "ResourceNotFoundException":
        raise InfrastructureError(f"The Variable musher cannot be read or set: {said(error)}") from None
