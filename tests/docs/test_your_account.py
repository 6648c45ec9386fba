"""The page on an account: its figures follow from the price table of the day that it names."""

from __future__ import annotations

import re
from pathlib import Path

from musher.config import DeploymentConfig, TrainingConfig
from musher.costs import prices, projection

from tests.docs.pages import DOCS, ROOT, rows
from tools.deployment import deploy, settings

PAGE = (DOCS / "your_account.md").read_text()
# `make prices` leaves this one alone; whoever brings the page up to date takes the new table for it.
TABLE = prices.Prices.read(ROOT / "tests/plugins/prices.json")


def cells(beginning: str) -> list[str]:
    (found,) = [row for row in rows(PAGE) if row[0].startswith(beginning)]
    return found


def test_costs_are_those_of_the_price_table_of_its_day(monkeypatch):
    assert f"as of {TABLE.date} ({TABLE.region}" in PAGE
    monkeypatch.setattr(prices, "table", lambda: TABLE)
    training, deployment = TrainingConfig(), DeploymentConfig()
    first = cells("[The first run]")[2]
    assert re.findall(r"at most ([\d.]+)", first) == [
        f"{projection.training(training).worst_case_usd:.2f}",
        f"{projection.deployment(deployment).worst_case_usd:.2f}",
    ]
    hour = prices.endpoint_cost(deployment.instance_type)
    assert cells("the endpoint")[1:3] == [f"{hour:.3f}", f"{hour * prices.HOURS_PER_MONTH:.2f}"]
    ready = prices.provisioned_cost(deployment.function_memory_mb, deployment.provisioned_concurrency)
    assert cells("provisioned")[1:3] == [f"{ready:.4f}", f"{ready * prices.HOURS_PER_MONTH:.2f}"]
    assert cells("the bucket")[2] == f"{TABLE.usd('s3_standard', 'per_gb_month')} a GB"


def test_what_the_page_says_of_the_defaults_is_so():
    training, deployment = TrainingConfig(), DeploymentConfig()
    assert training.max_runtime_seconds == 3600
    for kind in (training.training_instance_type, deployment.instance_type):
        assert f"`{kind}`" in PAGE
    number, memory = deployment.provisioned_concurrency, deployment.function_memory_mb
    assert cells("provisioned")[0] == f"provisioned concurrency, {'two' if number == 2 else number} of {memory} MB"
    assert settings.load_settings("example").mwaa["EnvironmentClass"] == "mw1.small"


def test_the_steps_are_those_of_the_code():
    """Each step that the page numbers is a method or a call of the deployment, in this order."""
    code = Path(deploy.__file__).read_text()
    run = code[code.index("def run(") : code.index("def _network(")]
    steps = [
        "_network()",
        "variable_values(",
        "put_package(",
        "_environment(",
        "_variable(",
        "put_dags(",
        "WebserverUrl",
    ]
    places = [run.index(step) for step in steps]
    assert places == sorted(places)
    assert len(re.findall(r"^\d\. ", PAGE, re.MULTILINE)) == len(steps)
