"""What an account lacks of what the DAGs need, before a run has to find out: it only reads.

The same comparison as the DAGs' first task (plugins/musher/account/), for all of them at their defaults, or as the
Variable has them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tools import infrastructure, package
from tools.cloudformation import InfrastructureError, Stack
from tools.deployment.account import Account
from tools.deployment.deploy import secret, variable_name
from tools.deployment.settings import Settings


def examine(account: Account, settings: Settings) -> None:
    """Say what is there, and raise InfrastructureError with one list of what is missing, if anything is."""
    sys.path.insert(0, str(package.ROOT / "plugins"))  # as Airflow does
    from musher.account import needs
    from musher.account.check import Check
    from musher.config import ComparisonConfig, DeploymentConfig, Ec2TrainingConfig, Environment, TrainingConfig
    from musher.costs import prices
    from musher.errors import ConfigError

    who = account.check(settings.account)
    account.say(f"{settings.name}: project {settings.project} in {settings.account}, {settings.region}, as {who}")
    missing = []
    values, stack = _variable(account, settings, missing)
    try:
        env = Environment.from_params(values)
    except ConfigError as error:
        raise InfrastructureError(f"{_HEADING}\n1. {error}") from None
    check = Check(account.client, env)
    training = TrainingConfig.from_params(env.training)
    ec2 = Ec2TrainingConfig()
    wanted = needs.training(training)
    for others in (
        needs.deployment(DeploymentConfig.from_params(env.deployment), check.served()),
        needs.comparison(ComparisonConfig()),
        needs.ec2_training(prices.ec2_type(training.training_instance_type), spot=ec2.spot),
    ):
        wanted = wanted.with_others(others)
    found = check.run(wanted, made=stack)
    found.missing[:0] = missing
    for each in found.known:
        account.say(each)
    for each in found.unknown:
        account.say(f"Not known: {each}")
    if found.missing:
        raise InfrastructureError(found.sentence(_HEADING))


_HEADING = "The account lacks what the DAGs need:"


def _variable(account: Account, settings: Settings, missing: list[str]) -> tuple[dict[str, Any], bool]:
    """The Variable `musher`, and whether the stack behind it is there: Airflow's own, or what the stack's outputs make
    of it, or the names that they will have."""
    make = f"`make deploy ENV={settings.name}`"
    stack = Stack(account.client, settings.project)
    if stack.described() is None:
        missing.append(f"There is no stack {settings.project}, with bucket, roles and network: {make} makes it.")
        role = f"arn:aws:iam::{settings.account}:role/{settings.project}-"
        roles = {f"{name}_role_arn": f"{role}{name}" for name in ("training", "endpoint", "lambda")}
        return {"bucket": settings.bucket, "region": settings.region, "project": settings.project, **roles}, False
    of_stack = infrastructure.variable_values(stack.outputs())
    text = secret(account, settings)
    if not text:
        missing.append(f"The secret {variable_name(settings.project)} holds no Variable musher yet: {make} fills it.")
        return of_stack, True
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError
    except ValueError:
        missing.append(f"The secret {variable_name(settings.project)} holds no JSON object: {make} fills it anew.")
        return of_stack, True
    for name in sorted(of_stack.keys() & values.keys()):
        if values[name] != of_stack[name]:
            missing.append(
                f"Airflow Variable musher: {name} is {values[name]!r}, and the stack has {of_stack[name]!r}: {make} "
                "brings both together."
            )
    return values, True
