"""A busy machine reads DAG files slowly, and Airflow must not take a DAG away for that."""

from pathlib import Path

import pytest
import yaml

from tools.stack import Stack

ROOT = Path(__file__).parents[2]
# What a file took to be read on two cores that fifty other processes wanted, too.
SECONDS_OF_A_BUSY_MACHINE = 60


def of_the_stack(tmp_path) -> dict[str, str]:
    return Stack(home=tmp_path).airflow_environment()


def of_compose(_) -> dict[str, str]:
    return yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["x-airflow"]["environment"]


@pytest.mark.parametrize("environment", [of_the_stack, of_compose])
def test_no_dag_is_missing_while_its_file_is_read_slowly(tmp_path, environment):
    told = environment(tmp_path)
    every, longest, stale = (
        int(told[f"AIRFLOW__DAG_PROCESSOR__{name}"])
        for name in ("MIN_FILE_PROCESS_INTERVAL", "DAG_FILE_PROCESSOR_TIMEOUT", "STALE_DAG_THRESHOLD")
    )

    # A file that takes longer counts as broken.
    assert longest > 2 * SECONDS_OF_A_BUSY_MACHINE
    # airflow/dag_processing/manager.py: a DAG is stale where its file was read again so long after it was written down,
    # and from one reading's beginning to the next one's end there pass the interval and what both take.
    assert stale > every + 2 * longest
