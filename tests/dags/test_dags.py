"""Policy of every DAG: it parses with no connection, explains itself, and carries what operations needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from musher.config import RunningCostsConfig

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))

PARSE = """
import json, sys, socket, time
def refuse(*_, **__):
    raise OSError("a DAG file must not use the network when it is parsed")
import airflow.sdk, airflow.dag_processing.dagbag
socket.socket.connect = refuse
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], safe_mode=False)
print("RESULT" + json.dumps({
    "errors": bag.import_errors,
    "heavy": [name for name in ("torch", "sagemaker", "matplotlib", "moto", "pandas") if name in sys.modules],
    "dags": {
        dag.dag_id: {
            "doc_md": dag.doc_md, "tags": sorted(dag.tags), "owner": dag.owner, "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "params": {name: dag.params.get_param(name).schema for name in dag.params},
            "tasks": {task.task_id: [type(task).__name__, sorted(task.downstream_task_ids)] for task in dag.tasks},
            "rules": {task.task_id: task.trigger_rule for task in dag.tasks},
            "forms": {task.task_id: list(task.params) for task in dag.tasks if task.params},
        } for dag in bag.dags.values()
    },
}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """All DAGs, parsed by a fresh Airflow with no connection, no Variable and no network."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "AWS")) and name != "PYTHONPATH"
    }
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, str(ROOT / "dags")],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0].removeprefix("RESULT"))


def test_every_file_parses_without_network_connection_or_variable(parsed):
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == {path.stem for path in DAG_FILES}


def test_no_heavy_package_is_imported_at_parse_time(parsed):
    assert parsed["heavy"] == []


@pytest.mark.parametrize("dag_id", [path.stem for path in DAG_FILES])
def test_a_dag_explains_itself(parsed, dag_id):
    dag = parsed["dags"][dag_id]
    assert dag["doc_md"].lstrip().startswith("# ")
    assert "**Runs**" in dag["doc_md"]
    assert "musher" in dag["tags"]
    assert dag["owner"] == "musher"
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1


@pytest.mark.parametrize(
    "dag_id", ["train_image_classifier", "train_on_ec2", "deploy_image_classifier", "compare_models"]
)
def test_every_param_has_a_type_a_title_and_a_sentence(parsed, dag_id):
    params = parsed["dags"][dag_id]["params"]
    assert len(params) >= 10
    lacking = {
        name for name, schema in params.items() if not ({"type", "enum"} & set(schema)) or not schema.get("title")
    }
    assert lacking == set()


@pytest.mark.parametrize("dag_id", [path.stem for path in DAG_FILES])
def test_the_account_is_checked_before_anything_else(parsed, dag_id):
    tasks = parsed["dags"][dag_id]["tasks"]
    later = {name for _, downstream in tasks.values() for name in downstream}
    assert set(tasks) - later == {"check_account"}


def test_no_task_repeats_the_form_of_its_dag(parsed):
    """Airflow checks every field of each copy whenever the file is read, and keeps all of them in its database."""
    forms = {f"{dag_id}.{task}": form for dag_id, dag in parsed["dags"].items() for task, form in dag["forms"].items()}
    assert forms == {"deploy_image_classifier.approve_release": ["why"]}


def test_training_runs_in_the_order_that_makes_its_figures_comparable(parsed):
    tasks = parsed["dags"]["train_image_classifier"]["tasks"]
    assert "train_on_several_instances" in tasks["train_on_one_instance"][1]
    assert tasks["release_model"][1] == ["stop_jobs"]
    assert "report" in tasks["register_model"][1]


def test_what_comes_after_a_path_that_is_skipped_runs(parsed):
    """The whole chain runs with one path in tests/chain; here, that no task after a path is forgotten."""
    dag = parsed["dags"]["train_image_classifier"]
    after = {name for path in ("one_instance", "several_instances") for name in dag["tasks"][f"train_on_{path}"][1]}
    assert {dag["rules"][name] for name in after - {"stop_jobs"}} == {"none_failed", "none_failed_min_one_success"}
    assert dag["params"]["paths"]["enum"] == ["one", "several", "both"]


def test_a_release_comes_after_a_rehearsal_that_was_left_out_as_well(parsed):
    dag = parsed["dags"]["deploy_image_classifier"]
    assert {name: dag["rules"][name] for name in ("approve_release", "release_endpoint", "verdict", "report")} == {
        "approve_release": "none_failed",
        "release_endpoint": "none_failed",
        "verdict": "none_failed",
        "report": "all_done",
    }
    assert "release_endpoint" in dag["tasks"]["load_test"][1]
    tasks = dag["tasks"]
    assert "verdict" in tasks["release_endpoint"][1]
    assert "report" in tasks["set_alarms"][1]
    assert "set_alarms" in tasks["release_scaling"][1]


def test_the_verdict_is_the_last_task_so_that_a_failed_run_has_its_report(parsed):
    tasks = parsed["dags"]["deploy_image_classifier"]["tasks"]
    assert tasks["verdict"][1] == ["end_deployment"]  # a teardown, which decides nothing
    assert tasks["report"][1] == ["verdict"]


@pytest.mark.parametrize(
    ("dag_id", "launches"),
    [
        ("train_image_classifier", "tune"),
        ("deploy_image_classifier", "deploy_endpoint"),
        ("compare_models", "choose_models"),
    ],
)
def test_the_projected_cost_is_checked_before_anything_is_launched(parsed, dag_id, launches):
    tasks = parsed["dags"][dag_id]["tasks"]
    assert launches in tasks["check_projected_cost"][1]
    assert "max_cost_usd" in parsed["dags"][dag_id]["params"]


def test_what_was_made_for_a_comparison_goes_in_every_outcome_and_a_failed_one_fails_the_run(parsed):
    dag = parsed["dags"]["compare_models"]
    assert "remove_comparison" in dag["tasks"]["compare_under_load"][1]
    assert dag["rules"]["remove_comparison"] == "all_done_setup_success"
    assert dag["rules"]["report"] == "all_success"  # the last task: what failed before it fails the run


def test_nothing_is_removed_by_the_report_of_running_costs_unless_a_person_says_so(parsed):
    params = parsed["dags"]["report_running_costs"]["params"]
    assert set(params) == {"unused_days", "remove_unused"}
    assert params["remove_unused"]["type"] == "boolean"
    assert RunningCostsConfig().remove_unused is False
