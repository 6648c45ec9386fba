"""docker-compose.yaml, read and not run: what it publishes, mounts, pins and keeps secret."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tools import bootstrap, environments
from tools.package import distributions, imported
from tools.stack import ROOT, Stack

FILE = ROOT / "docker-compose.yaml"
# By libyaml where PyYAML was built with it: a tenth of the time, in each process that collects this file.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PAGE = yaml.load(FILE.read_text(), Loader=LOADER)  # a safe one
SERVICES = PAGE["services"]
AIRFLOW = PAGE["x-airflow"]["environment"]
ONE_SHOT = {"secrets", "airflow-init", "account"}
BY_HAND = {"demo", "tests"}  # `docker compose run --rm NAME`
PROFILES = {"demo": ["demo"], "tests": ["test"], "redis": ["celery"], "worker": ["celery"]}


def overrides() -> dict[str, Any]:
    """The services of docker-compose.aws.yaml; what that takes away is None."""
    text = re.sub(r"!(override|reset)", "", (ROOT / "docker-compose.aws.yaml").read_text())
    return yaml.load(text, Loader=LOADER)["services"]


def default(value: object) -> str:
    """A value with what its variables are when nobody sets them."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def test_the_local_aws_enforces_iam_and_airflow_is_its_role():
    # GIVEN what the local AWS is started with
    command = SERVICES["local-aws"]["command"]
    told = {name: command[command.index(name) + 1] for name in ("--iam", "--administrator", "--offer")}
    assert told["--iam"] == "enforce"
    assert told["--administrator"] == ":".join(bootstrap.CREDENTIALS.values())
    role, service, token = told["--offer"].split(":")
    assert (role, service) == (bootstrap.AIRFLOW_ROLE, bootstrap.AIRFLOW_SERVICE)
    # THEN Airflow's parts ask there, with the same token, and have no key; who prepares and watches is an administrator
    assert AIRFLOW["AWS_CONTAINER_CREDENTIALS_FULL_URI"].endswith(f"/_local_aws/credentials/{role}")
    drawn = (ROOT / "docker/draw_secrets.py").read_text()
    assert 'write(ROOT / "airflow/aws_token", drawn(ROOT / "aws/token"))' in drawn
    assert "aws-secret:/opt/musher/secrets/aws:ro" in SERVICES["local-aws"]["volumes"]
    assert "aws-secret:/opt/musher/secrets/aws" in SERVICES["secrets"]["volumes"]
    assert token == "@/opt/musher/secrets/aws/token"
    assert AIRFLOW["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] == "/opt/musher/secrets/airflow/aws_token"
    with_keys = {name for name, each in SERVICES.items() if "AWS_ACCESS_KEY_ID" in (each.get("environment") or {})}
    assert with_keys == {"account", "demo"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_no_root_and_says_whether_it_is_healthy(name):
    service = SERVICES[name]
    user = default(service["user"]).split(":")[0]
    assert user not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name not in ONE_SHOT | BY_HAND:
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_a_one_shot_service_is_waited_for_to_the_end(name):
    waiting = [each["depends_on"][name] for each in SERVICES.values() if name in each.get("depends_on", {})]
    assert waiting
    assert all(each == {"condition": "service_completed_successfully"} for each in waiting)


def test_up_alone_starts_what_make_up_starts_and_no_more():
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == PROFILES


def test_the_demo_waits_for_all_of_airflow():
    parts = {name for name, service in SERVICES.items() if "airflow_component" in str(service.get("command"))}
    waited_for = SERVICES["demo"]["depends_on"]
    assert set(waited_for) == parts - {"worker"}
    assert all(condition == {"condition": "service_healthy"} for condition in waited_for.values())


def test_the_executor_is_chosen_by_one_variable_and_every_component_knows_the_broker():
    assert AIRFLOW["AIRFLOW__CORE__EXECUTOR"].startswith("${AIRFLOW_EXECUTOR:-")
    assert AIRFLOW["AIRFLOW__CELERY__BROKER_URL_CMD"]
    assert SERVICES["worker"]["environment"] == AIRFLOW
    assert "ports" not in SERVICES["redis"]


def test_every_port_is_published_on_the_loopback_address_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any(service.get("network_mode") == "host" for service in SERVICES.values())


def test_the_local_aws_answers_other_containers_by_the_name_of_its_network():
    local_aws = SERVICES["local-aws"]
    command, owner = local_aws["command"], local_aws["network_mode"].removeprefix("service:")
    assert command[command.index("--allowed-host") + 1] == owner
    assert owner in SERVICES


def test_every_image_is_pinned_by_a_tag():
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE))
    for image in set(images) - stages:
        assert re.search(r":[\w.${}-]*\d|:\$\{\w+\}-", image), image
        assert "latest" not in image
        assert "@" not in image


def test_every_mounted_path_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_dir(), source
                assert volume.endswith(":ro"), volume
            elif not source.startswith("${"):
                assert source in PAGE["volumes"], source


def test_no_secret_is_in_the_file():
    # GIVEN all that sounds like a secret THEN it is read from a file, or is what the local AWS alone takes
    environment = {name: value for each in SERVICES.values() for name, value in each.get("environment", {}).items()}
    for name, value in environment.items():
        if name in bootstrap.CREDENTIALS:
            assert value == bootstrap.CREDENTIALS[name]
        elif re.search(r"PASSWORD|SECRET|FERNET|SQL_ALCHEMY", name):
            assert name.endswith(("_CMD", "_FILE")), name


def test_airflow_is_set_up_as_make_up_sets_it_up(tmp_path):
    # GIVEN the options that both set THEN they differ in where things are, and in nothing else
    places = ("DAGS_FOLDER", "PLUGINS_FOLDER", "API__HOST", "PORT", "URL")
    options = Stack(home=tmp_path).airflow_environment()
    shared = {name for name in options if name.startswith("AIRFLOW__") and name in AIRFLOW}
    assert len(shared) > 10
    # Only on SQLite is the scheduler woken when something is written: elsewhere it has to look often by itself.
    pause = "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"
    assert (default(AIRFLOW[pause]), options[pause]) == ("0.2", "1")
    for name in shared - {pause}:
        if not name.endswith(places):
            assert default(AIRFLOW[name]) == options[name], name


def test_the_images_are_built_with_the_uv_that_makes_the_environments():
    assert set(re.findall(r"uv==[\d.]+", (ROOT / "docker/Dockerfile").read_text())) == {environments.UV}


def test_the_images_have_the_versions_that_the_environments_have():
    def pins(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            package, version = line.split(" ;")[0].split("==")
            found.setdefault(package, set()).add(version)
        return found

    known = pins("airflow.txt")
    for name in ("compose.txt", "local_aws.txt"):
        for package, versions in pins(name).items():
            assert versions <= known.get(package, versions), package


def test_airflows_image_has_every_package_that_the_plugins_import():
    known = {line.split("==")[0].lower() for line in (ROOT / "requirements/compose.txt").read_text().splitlines()}
    of = distributions()
    names = {name for file in (ROOT / "plugins").rglob("*.py") for name in imported(file.read_bytes())}
    packages = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"airflow", "musher"}
    assert {"fastapi", "PIL"} <= packages
    missing = {name for name in packages if not {each.lower() for each in of.get(name, [name])} & known}
    assert not missing


def test_all_of_airflow_goes_to_the_real_account():
    overridden = overrides()
    parts = {name for name, service in SERVICES.items() if "airflow_component" in str(service.get("command"))}
    for name in parts | {"airflow-init"}:
        environment = overridden[name]["environment"]
        assert environment["AWS_ENDPOINT_URL"] == "", name
        assert [environment[each] for each in AIRFLOW if "CONTAINER" in each] == [None, None], name


@pytest.mark.slow
def test_with_the_real_account_the_ui_asks_for_a_password_that_its_log_says(tmp_path):
    # GIVEN Airflow as docker-compose.aws.yaml sets it up, on top of docker-compose.yaml
    overridden = overrides()
    settings = {name: default(value) for name, value in AIRFLOW.items() if "SIMPLE_AUTH" in name}
    settings |= {
        name: value for name, value in overridden["api-server"]["environment"].items() if name.startswith("AIRFLOW__")
    }
    # WHEN its API server starts
    program = (
        "from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager as Manager\n"
        "manager = Manager(); manager.init(); print('open to all:', bool(manager.get_fastapi_middlewares()))"
    )
    environment = {**os.environ, **settings, "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    # THEN it has drawn a password, which its log says as the page does
    assert "open to all: False" in done.stdout
    drawn = json.loads((tmp_path / "simple_auth_manager_passwords.json.generated").read_text())
    assert list(drawn) == ["admin"]
    assert f"Password for user 'admin': {drawn['admin']}" in done.stdout
    page = (ROOT / "docs/compose.md").read_text()
    assert 'docker compose logs api-server | grep "Password for user"' in page


def compose() -> list[str]:
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
        if plugin.returncode == 0:
            return ["docker", "compose"]
    pytest.skip("Docker's compose plugin is not on this machine")


@pytest.mark.parametrize("files", [["docker-compose.yaml"], ["docker-compose.yaml", "docker-compose.aws.yaml"]])
def test_compose_takes_the_files(files):
    command = compose()
    named = [argument for file in files for argument in ("-f", file)]
    named += [argument for profiles in PROFILES.values() for argument in ("--profile", *profiles)]
    given = {**os.environ, "AWS_PROFILE": "somebody"}
    checked = subprocess.run([*command, *named, "config", "-q"], cwd=ROOT, env=given, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
