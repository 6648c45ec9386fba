"""What an environment is told: one file of infra/environments/, checked once, before anything is called."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tools.cloudformation import FOLDER, InfrastructureError, checked, load

ENVIRONMENTS = FOLDER / "environments"
FIELDS = ("account", "region", "project", "network", "musher", "mwaa", "wait_minutes")
NEEDED = ("account", "region", "network")
# What the deployment fills in itself, by template.
FILLED_IN = {
    "network": {"ProjectName"},
    "musher": {"ProjectName"},
    "mwaa": {
        *("ProjectName", "VpcId", "SubnetIds", "AirflowVersion"),
        *("PluginsPath", "PluginsVersion", "RequirementsPath", "RequirementsVersion"),
    },
}
WHERE = {
    "ProjectName": "it is the field project",
    "VpcId": "it is in the field network",
    "SubnetIds": "it is in the field network",
}
# An id that stands for one which is not there yet, when the parameters of the other stacks are checked.
UNKNOWN_VPC, UNKNOWN_SUBNETS = "vpc-00000000", ("subnet-00000001", "subnet-00000002")


class SettingsError(Exception):
    """The settings cannot be deployed; the message is one sentence that names the field."""


@dataclass(frozen=True)
class Network:
    """A network that is there, by its ids, or one to be made, by the parameters of infra/network.yaml."""

    vpc: str = ""
    subnets: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        return not self.vpc


@dataclass(frozen=True)
class Settings:
    """One environment; `musher` and `mwaa` are the parameters of these templates that are not at their defaults."""

    name: str
    account: str
    region: str
    network: Network
    project: str = "musher"
    musher: Mapping[str, Any] = field(default_factory=dict)
    mwaa: Mapping[str, Any] = field(default_factory=dict)
    wait_minutes: float = 90

    @property
    def bucket(self) -> str:
        """The project's bucket, as infra/musher.yaml names it."""
        return f"{self.project}-{self.account}"

    @property
    def network_stack(self) -> str:
        return f"{self.project}-network"

    @property
    def mwaa_stack(self) -> str:
        return f"{self.project}-mwaa"

    def network_parameters(self) -> dict[str, Any]:
        """All that infra/network.yaml is told."""
        return {**self.network.parameters, "ProjectName": self.project}

    def musher_parameters(self, vpc: str, subnets: tuple[str, ...]) -> dict[str, Any]:
        """All that infra/musher.yaml is told: training instances start where Airflow's workers reach them."""
        here = {"VpcId": vpc, "SubnetId": subnets[0]}
        if self.network.is_new:
            template = load((FOLDER / "network.yaml").read_text())
            here["SshCidr"] = checked(self.network_parameters(), template)["VpcCidr"]
        return {**here, **self.musher, "ProjectName": self.project}

    def mwaa_parameters(self, vpc: str, subnets: tuple[str, ...], package: Mapping[str, str]) -> dict[str, Any]:
        """All that infra/mwaa.yaml is told; `package` are the parameters that say which package it runs."""
        return {**self.mwaa, "ProjectName": self.project, "VpcId": vpc, "SubnetIds": ",".join(subnets), **package}


def load_settings(name: str) -> Settings:
    """The settings of `infra/environments/<name>.yaml`, or of the file of that path. Raises SettingsError."""
    if not name:
        raise SettingsError(f"Say which environment: ENV=<name of a file in infra/environments/>; {_there()}.")
    path = Path(name) if name.endswith((".yaml", ".yml")) else ENVIRONMENTS / f"{name}.yaml"
    shown = path.relative_to(FOLDER.parent) if path.is_relative_to(FOLDER.parent) else path
    try:
        given = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"The settings {shown} cannot be read: {error.strerror}; {_there()}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{shown} is no YAML: {' '.join(str(error).split())}") from None
    try:
        return settings_of(path.stem, given)
    except SettingsError as error:
        raise SettingsError(f"{shown}: {error}") from None


def settings_of(name: str, given: object) -> Settings:
    """The settings that a file's content says. Raises SettingsError."""
    if not isinstance(given, dict):
        raise SettingsError('It has to have the fields account, region and network, such as `account: "111122223333"`.')
    for each in given:
        if each not in FIELDS:
            near = difflib.get_close_matches(str(each), FIELDS, n=1, cutoff=0)[0]
            raise SettingsError(f"There is no field {each}; the nearest is {near}.")
    for each in NEEDED:
        if given.get(each) is None:
            raise SettingsError(f"The field {each} is missing; infra/environments/example.yaml says what it is.")
    settings = Settings(
        name=name,
        account=_text(given, "account", r"\d{12}", "has to be the account's 12 digits, in quotes"),
        region=_text(given, "region", r"[a-z]{2}(-[a-z]+)+-\d", "has to be a region's name, such as eu-central-1"),
        project=_text(given, "project", r".+", "has to be a name", "musher"),
        network=_network(given["network"]),
        musher=_section(given, "musher"),
        mwaa=_section(given, "mwaa"),
        wait_minutes=_minutes(given.get("wait_minutes", 90)),
    )
    _check_templates(settings)
    return settings


def _check_templates(settings: Settings) -> None:
    """Check every parameter against the templates' own constraints, with ids that stand for what is not there yet."""
    network = settings.network
    vpc, subnets = network.vpc or UNKNOWN_VPC, network.subnets or UNKNOWN_SUBNETS
    package = dict.fromkeys(("PluginsPath", "RequirementsPath"), "mwaa/x")
    package |= dict.fromkeys(("PluginsVersion", "RequirementsVersion"), "x")
    asked = {
        "network": lambda: settings.network_parameters() if network.is_new else None,
        "musher": lambda: settings.musher_parameters(vpc, subnets),
        "mwaa": lambda: settings.mwaa_parameters(vpc, subnets, package),
    }
    for template, parameters in asked.items():
        try:
            if (given := parameters()) is not None:
                checked(given, load((FOLDER / f"{template}.yaml").read_text()))
        except InfrastructureError as error:
            raise SettingsError(f"In {template}: {error}") from None
    regions = load((FOLDER / "musher.yaml").read_text())["Mappings"]["AwsImages"]
    if settings.region not in regions:
        raise SettingsError(
            f"The field region is {settings.region!r}, where no account with AWS's images is known; it has to be one "
            f"of {', '.join(regions)}."
        )
    size = {"MaxWorkers": 2, "Schedulers": 2, **settings.mwaa}
    small = settings.mwaa.get("EnvironmentClass") == "mw1.micro"
    if small and (int(size["MaxWorkers"]), int(size["Schedulers"])) != (1, 1):
        raise SettingsError(
            "In mwaa: mw1.micro has one worker and one scheduler: MaxWorkers and Schedulers have to be 1."
        )
    if not small and int(size["Schedulers"]) < 2:
        raise SettingsError("In mwaa: Schedulers is 1, which only mw1.micro may have; the others have 2 to 5.")


def _network(given: object) -> Network:
    if given == "new":
        return Network()
    if not isinstance(given, dict):
        raise SettingsError(
            f"The field network is {given!r}; it has to be `new`, or {{VpcId: ..., SubnetIds: [..., ...]}}."
        )
    if not given.keys() & {"VpcId", "SubnetIds"}:
        _refuse_filled_in("network", given)
        return Network(parameters=given)
    if unknown := given.keys() - {"VpcId", "SubnetIds"}:
        raise SettingsError(
            f"The field network has VpcId or SubnetIds, and {sorted(unknown)[0]}, which is for a new one."
        )
    vpc, subnets = str(given.get("VpcId", "")), given.get("SubnetIds")
    if not re.fullmatch(r"vpc-[0-9a-f]+", vpc):
        raise SettingsError(f"In network: VpcId is {vpc!r}; it has to be a VPC's id, such as vpc-0a1b2c3d.")
    valid = isinstance(subnets, list) and all(re.fullmatch(r"subnet-[0-9a-f]+", str(each)) for each in subnets)
    if not valid or len(set(subnets)) != 2:
        raise SettingsError(f"In network: SubnetIds is {subnets!r}; it has to be a list of two subnets' ids.")
    return Network(vpc, tuple(subnets))


def _section(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = given.get(name) or {}
    if not isinstance(section, dict):
        raise SettingsError(f"The field {name} is {section!r}; it has to hold parameters of infra/{name}.yaml.")
    _refuse_filled_in(name, section)
    return section


def _refuse_filled_in(name: str, section: Mapping[str, Any]) -> None:
    for each in sorted(section.keys() & FILLED_IN[name]):
        why = WHERE.get(each, "it is that of the package")
        raise SettingsError(f"In {name}: {each} is filled in by the deployment: {why}.")


def _text(given: Mapping[str, Any], name: str, pattern: str, rule: str, default: str | None = None) -> str:
    value = given.get(name, default)
    # Without quotes, YAML reads an account as a number, and one that begins with 0 as another number.
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise SettingsError(f"The field {name} is {value!r}; it {rule}.")
    return value


def _minutes(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 1440:
        raise SettingsError(f"The field wait_minutes is {value!r}; it has to be a number of minutes from 1 to 1440.")
    return value


def _there() -> str:
    names = sorted(path.stem for path in ENVIRONMENTS.glob("*.yaml"))
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "there is none"
