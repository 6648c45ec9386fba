"""Which record a run's report shows, from Airflow's database."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from musher.names import Run

UNFINISHED = {"queued", "running"}
# Where a run says that it adds to the record of another one: the task, and the key of its XCom.
ADDS_TO = {"choose_model": "run_key", "choose_training": "run"}


@dataclass(frozen=True)
class Shown:
    """A DAG run, and the folder under runs/ that has its record; `own` False where that is another run's."""

    dag_id: str
    run_id: str
    state: str
    since: dt.datetime | None
    key: str
    own: bool = True

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED


def find(dag_id: str, run_id: str) -> Shown | None:
    """A DAG run; None where there is none of that name."""
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(
            select(DagRun.state, DagRun.start_date).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        ).one_or_none()
        if found is None:
            return None
        told = session.execute(
            select(XComModel.task_id, XComModel.key, XComModel.value).where(
                XComModel.dag_id == dag_id,
                XComModel.run_id == run_id,
                XComModel.task_id.in_(ADDS_TO),
                XComModel.key.in_(ADDS_TO.values()),
            )
        ).all()
    mine = Run(dag_id, run_id).key
    key = next((value for task, name, value in told if ADDS_TO[task] == name and isinstance(value, str)), mine)
    return Shown(dag_id, run_id, str(getattr(found[0], "value", found[0])), found[1], key, key == mine)
