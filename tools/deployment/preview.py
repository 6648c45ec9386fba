"""What `make deploy` would do, found by looking: nothing is changed, and what only AWS can tell is called unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import infrastructure
from tools.cloudformation import FOLDER, Stack, Waiting, checked, load
from tools.deployment import change_set, upload
from tools.deployment.account import Account
from tools.deployment.deploy import ENVIRONMENT, begin, check_subnets, secret, variable_name, variable_text
from tools.deployment.environment import MOVING, Environment
from tools.deployment.settings import UNKNOWN_SUBNETS, UNKNOWN_VPC, Settings

UNKNOWN = "unknown"
UPLOADED, NETWORK_MADE = "it is uploaded", "the network is made"


@dataclass(frozen=True)
class Looked:
    """A stack that was looked at: what it gives now, if it is there, and whether a deployment would leave it alone."""

    outputs: Mapping[str, str] | None
    unchanged: bool


class Preview:
    """One run of `make deploy` with DRY_RUN.

    Parameters: `change_sets` has CloudFormation say itself what it would change: change sets are made, shown and
    removed. Without it nothing but reads is sent.
    """

    def __init__(self, account: Account, settings: Settings, *, change_sets: bool = False) -> None:
        self.account, self.settings, self.change_sets = account, settings, change_sets
        self.say = account.say
        # Values that stand for what only the deployment will know, and until when it is unknown.
        self.unknown: dict[str, str] = {}

    def run(self, root: Path | None = None) -> None:
        """Look at all of it, in a deployment's order.

        Raises what a deployment would raise before it has changed anything.
        """
        settings, s3 = self.settings, self.account.client("s3")
        packed = begin(self.account, settings, root)
        vpc, subnets = self._network()
        project = self._stack(settings.project, "musher", settings.musher_parameters(vpc, subnets))
        package = upload.look_for_package(s3, settings.bucket, packed)
        for what in ("Plugins", "Requirements"):
            if not package[f"{what}Version"]:
                self.say(f"{what}: would be uploaded, as {package[f'{what}Path']}")
                package[f"{what}Version"] = UNKNOWN
                self.unknown[UNKNOWN] = UPLOADED
        self._stack(settings.mwaa_stack, "mwaa", settings.mwaa_parameters(vpc, subnets, package))
        self._environment()
        self._variable(project)
        uploaded, removed = upload.look_for_dags(s3, settings.bucket, packed)
        self.say(f"DAGs, with ml_scripts and lambda: {uploaded} files would be uploaded, {removed} removed")
        if not self.change_sets:
            self.say(
                "Unknown: which resources an update changes or replaces (DRY_RUN=changeset asks CloudFormation), and "
                "whether AWS takes all of it: quotas, names that are taken, permissions."
            )

    def _network(self) -> tuple[str, tuple[str, ...]]:
        settings = self.settings
        if not settings.network.is_new:
            check_subnets(self.account, settings)
            return settings.network.vpc, settings.network.subnets
        outputs = self._stack(settings.network_stack, "network", settings.network_parameters()).outputs
        if outputs:
            return outputs["VpcId"], tuple(outputs["SubnetIds"].split(","))
        self.unknown |= dict.fromkeys((UNKNOWN_VPC, *UNKNOWN_SUBNETS, ",".join(UNKNOWN_SUBNETS)), NETWORK_MADE)
        return UNKNOWN_VPC, UNKNOWN_SUBNETS

    def _stack(self, name: str, template: str, parameters: Mapping[str, object]) -> Looked:
        body = (FOLDER / f"{template}.yaml").read_text()
        content = load(body)
        given = checked(parameters, content)
        stack = Stack(self.account.client, name, Waiting(say=self.say))
        now = stack.described()
        outputs = None if now is None else stack.outputs()
        if now and now["StackStatus"].endswith("_IN_PROGRESS") and now["StackStatus"] != "REVIEW_IN_PROGRESS":
            self.say(
                f"The stack {name}: is {now['StackStatus']}; a deployment waits for the end of that, and what it "
                "changes then is unknown"
            )
            return Looked(outputs, unchanged=False)
        verb, differs = stack.plan(body, given)
        if not verb:
            self.say(f"The stack {name}: nothing to change")
            return Looked(outputs, unchanged=True)
        if verb == "create":
            rules = content["Parameters"]
            differs = [f"{key} {value!r}" for key, value in given.items() if value != str(rules[key].get("Default"))]
        self.say(f"The stack {name}: would be {verb}d: {'; '.join(self._known(each) for each in differs)}")
        if self.change_sets:
            self._ask_cloudformation(stack, verb, body, given)
        return Looked(outputs, unchanged=False)

    def _ask_cloudformation(self, stack: Stack, verb: str, body: str, given: Mapping[str, str]) -> None:
        # CloudFormation looks for a network that a parameter names, and takes any text for an object's version.
        if NETWORK_MADE in [self.unknown.get(value) for value in given.values()]:
            self.say("  unknown: CloudFormation can be asked when the network is there")
            return
        found = change_set.changes(stack, verb, body, given, self.settings.project)
        for line in found or ["changes nothing"]:
            self.say(f"  {line}")

    def _known(self, text: str) -> str:
        """A text with `unknown` for every value that stands for one which is not known yet."""
        for value, then in sorted(self.unknown.items(), key=lambda item: -len(item[0])):
            text = text.replace(repr(value), f"{UNKNOWN} until {then}")
        return text

    def _environment(self) -> None:
        name = self.settings.project
        stack = Stack(self.account.client, self.settings.mwaa_stack)
        made = stack.described() is not None and stack.resources().get(ENVIRONMENT)
        now = Environment(self.account.client("mwaa"), name, Waiting()).described() if made else None
        if now is None:
            self.say(f"The environment {name}: is not there; the address of its UI is unknown")
        elif now["Status"] in MOVING:
            self.say(f"The environment {name}: is {now['Status']}; a deployment waits for the end of that")
        else:
            self.say(
                f"The environment {name}: is {now['Status']}; its UI is https://{now.get('WebserverUrl', UNKNOWN)}"
            )

    def _variable(self, project: Looked) -> None:
        what = f"The Variable musher ({variable_name(self.settings.project)})"
        if not project.unchanged or project.outputs is None:
            self.say(f"{what}: unknown, it follows from what the stack {self.settings.project} gives then")
            return
        same = secret(self.account, self.settings) == variable_text(infrastructure.variable_values(project.outputs))
        self.say(f"{what}: {'nothing to change' if same else 'would be set'}")
