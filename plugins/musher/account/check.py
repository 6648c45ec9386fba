"""The comparison: one list of what is missing, each entry with how to get it.

What cannot be asked, because a permission or a service is missing, is no reason to end a run: AWS itself will say it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from musher import names
from musher.account import network
from musher.account import quotas as of_account
from musher.account.needs import EC2, OF_EC2, SAGEMAKER, Needs, Served, quota_of_vcpus
from musher.account.quotas import Quota
from musher.config import Environment
from musher.errors import UserError
from musher.hooks.serving import found
from musher.release.rehearsal import LEAST_UNRESERVED

Client = Callable[[str], Any]
IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>.+):(?P<tag>.+)"
)
CONCURRENT, LAMBDA = "Concurrent executions", "lambda"
DEPLOY = "bring the stack of infra/musher.yaml up to date (`make deploy`, or `python -m tools.infrastructure deploy`)"


@dataclass
class Findings:
    """`missing` what has to be got before a run can succeed; `unknown` what could not be asked; `known` what was found
    to be enough; each a sentence."""

    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)

    def sentence(self, heading: str = "The account lacks what this run needs; nothing was launched:") -> str:
        """The list of what is missing, for a person."""
        return "\n".join([heading, *(f"{number}. {each}" for number, each in enumerate(self.missing, 1))])


class Check:
    """Compares what is needed with what the account has. Everything it calls reads.

    Parameters: `client` makes a boto3 client of a service.
    """

    def __init__(self, client: Client, env: Environment) -> None:
        self.client, self.env = client, env
        self.findings = Findings()

    def run(self, needs: Needs, *, made: bool = True) -> Findings:
        """Everything there is to be compared. Parameters: `made` False where the stack is not there yet, so that quotas
        alone can be."""
        of_quotas = (
            ("the quotas of SageMaker", self._instances),
            ("the quotas of EC2", self._ec2_instance),
            ("the quotas of AWS Lambda", self._concurrency),
        )
        of_stack = (
            ("the buckets", self._bucket),
            ("the roles", self._roles),
            ("the images", self._images),
            ("the network", self._network),
        )
        for what, part in (*(of_stack if made else ()), *of_quotas):
            self._asked(what, part, needs)
        return self.findings

    def served(self) -> Served:
        """What the project's endpoint has."""
        sagemaker = self.client("sagemaker")
        name = names.Stack(self.env.project).endpoint
        endpoint = found(lambda: sagemaker.describe_endpoint(EndpointName=name))
        if endpoint is None or endpoint["EndpointStatus"] in {"Creating", "Failed", "Deleting"}:
            return Served()
        types = of_account.instance_types(sagemaker, endpoint["EndpointConfigName"])
        for each in endpoint.get("ProductionVariants") or ():
            return Served(types.get(each["VariantName"], ""), each.get("DesiredInstanceCount") or 1)
        return Served()

    # --- what is compared

    def _bucket(self, _: Needs) -> Iterator[str]:
        try:
            self.client("s3").head_bucket(Bucket=self.env.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            yield (
                f"Airflow Variable musher: bucket is {self.env.bucket!r}, and there is no such bucket: {DEPLOY}, or "
                "name another one."
            )

    def _instances(self, needs: Needs) -> Iterator[str]:
        if not needs.instances:
            return
        wanted = {of_account.sagemaker_quota(*key): key for key in needs.instances}
        quotas = of_account.quotas(self.client, SAGEMAKER, wanted)
        uses = {use for use, _ in needs.instances}
        used = of_account.instances_in_use(self.client, uses, self.env.project)
        for name, key in wanted.items():
            yield from self._enough(quotas.get(name), name, used[key], needs.instances[key], "instances")

    def _ec2_instance(self, needs: Needs) -> Iterator[str]:
        if needs.ec2_instance is None:
            return
        kind, spot = needs.ec2_instance
        name = quota_of_vcpus(kind, spot=spot)
        if not name:
            self.findings.unknown.append(f"Which quota of EC2 counts {kind} is not known here.")
            return
        quotas = of_account.quotas(self.client, EC2, [name])
        size, used = of_account.vcpus(self.client, kind, spot=spot)
        yield from self._enough(quotas.get(name), name, used, size, f"vCPUs for {kind}")

    def _enough(self, quota: Quota | None, name: str, used: int, needed: int, unit: str) -> Iterator[str]:
        if quota is None:
            self.findings.unknown.append(f"Service Quotas names no quota {name!r}.")
            return
        default = ", AWS's default" if quota.of_aws else ""
        said = f"The quota {name!r} is {quota.value:g}{default}, of which {used} are in use, and "
        if used + needed <= quota.value:
            self.findings.known.append(f"{said}{needed} {unit} are needed.")
            return
        yield f"{said}this run needs {needed} {unit}: {self._request(quota, used + needed)}"

    def _request(self, quota: Quota, value: int) -> str:
        return (
            f"ask for more with `aws service-quotas request-service-quota-increase --region {self.env.region} "
            f"--service-code {quota.service} --quota-code {quota.code} --desired-value {value}`, and wait for AWS's "
            "answer."
        )

    def _concurrency(self, needs: Needs) -> Iterator[str]:
        if not needs.concurrency:
            return
        client = self.client(LAMBDA)
        limit = client.get_account_settings()["AccountLimit"]
        most, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
        name = names.Stack(self.env.project).function
        now = found(lambda: client.get_function_concurrency(FunctionName=name)) or {}
        others = most - unreserved - now.get("ReservedConcurrentExecutions", 0)
        needed = others + needs.concurrency + LEAST_UNRESERVED
        said = (
            f"The quota {CONCURRENT!r} is {most}, of which {others} are reserved by other functions and AWS keeps "
            f"{LEAST_UNRESERVED} unreserved, and "
        )
        if needed <= most:
            self.findings.known.append(f"{said}reserved_concurrency is {needs.concurrency}.")
            return
        quota = of_account.quotas(self.client, LAMBDA, [CONCURRENT]).get(CONCURRENT)
        how = self._request(quota, needed) if quota else f"ask AWS for {needed}."
        yield f"{said}reserved_concurrency is {needs.concurrency}: choose a smaller one where that is enough, or {how}"

    def _roles(self, needs: Needs) -> Iterator[str]:
        iam = self.client("iam")
        for name, service in needs.roles.items():
            if arn := getattr(self.env, name):
                yield from self._role(iam, name, arn, service)

    def _role(self, iam: Any, name: str, arn: str, service: str) -> Iterator[str]:
        try:
            trust = iam.get_role(RoleName=arn.rsplit("/", 1)[-1])["Role"]["AssumeRolePolicyDocument"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            yield f"Airflow Variable musher: {name} is {arn!r}, and there is no such role: {DEPLOY}."
            return
        if not trusts(trust, service):
            yield (
                f"Airflow Variable musher: {name} is {arn!r}, which {service} may not take: its trust policy has to "
                "allow it sts:AssumeRole."
            )

    def _images(self, needs: Needs) -> Iterator[str]:
        for name in needs.images:
            if image := getattr(self.env, name):
                yield from self._image(name, image)

    def _image(self, name: str, image: str) -> Iterator[str]:
        said = f"Airflow Variable musher: {name} is {image!r}, "
        parts = IMAGE.fullmatch(image)
        if parts is None:
            yield f"{said}and SageMaker takes <account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>."
            return
        if parts["region"] != self.env.region:
            yield f"{said}which is in another region than {self.env.region}: push the image there, too."
            return
        try:
            self.client("ecr").describe_images(
                registryId=parts["account"], repositoryName=parts["name"], imageIds=[{"imageTag": parts["tag"]}]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"RepositoryNotFoundException", "ImageNotFoundException"}:
                raise
            yield f"{said}and there is no such image: push it, or name another one."

    def _network(self, needs: Needs) -> Iterator[str]:
        if not needs.ssh:
            return
        env = self.env
        for name in ("ec2_instance_profile", "ec2_security_group"):
            if not getattr(env, name):
                yield f"Airflow Variable musher: {name} is missing; training on EC2 needs it: {DEPLOY}."
        if env.ec2_instance_profile:
            yield from self._profile(env.ec2_instance_profile)
        if env.ec2_security_group:
            yield from network.problems(self.client("ec2"), env)

    def _profile(self, name: str) -> Iterator[str]:
        iam = self.client("iam")
        said = f"Airflow Variable musher: ec2_instance_profile is {name!r}, "
        profile = network.profile(iam, name)
        if not profile["Roles"]:
            yield f"{said}which does not exist or has no role: {DEPLOY}."
        elif not trusts(profile["Roles"][0]["AssumeRolePolicyDocument"], OF_EC2):
            yield f"{said}whose role {OF_EC2} may not take: its trust policy has to allow it sts:AssumeRole."

    # --- what could not be asked

    def _asked(self, what: str, part: Callable[[Needs], Iterator[str]], needs: Needs) -> None:
        try:
            self.findings.missing.extend(part(needs))
        except UserError as error:
            self.findings.missing.append(str(error))
        except (ClientError, BotoCoreError) as error:
            self.findings.unknown.append(f"Whether {what} suffice could not be asked: {error}")


def trusts(document: Mapping[str, Any], service: str) -> bool:
    """Whether a trust policy lets a service take the role."""
    statements = document.get("Statement") or []
    for each in statements if isinstance(statements, list) else [statements]:
        actions, who = each.get("Action"), each.get("Principal")
        services = who.get("Service") if isinstance(who, dict) else who
        if (
            each.get("Effect") == "Allow"
            and "sts:AssumeRole" in ([actions] if isinstance(actions, str) else actions or [])
            and service in ([services] if isinstance(services, str) else services or [])
        ):
            return True
    return False
