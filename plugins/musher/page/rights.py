"""Who may see and do what: Airflow's own rights. A mounted application inherits none of them.

Source: Airflow's "Plugins" (FastAPI applications have to authenticate by themselves), and
`airflow.api_fastapi.core_api.security`, whose dependencies Airflow's own routes use.
"""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends

from musher.page.dags import DEPLOY

__all__ = ["User", "may", "may_deploy", "may_read_deployments", "may_read_run", "signed_in"]

User = Annotated[Any, Depends(get_user)]
signed_in = Depends(get_user)
# What serves is what the deployments made.
may_deploy = Depends(requires_access_dag("POST", DagAccessEntity.RUN, DEPLOY))
may_read_deployments = Depends(requires_access_dag("GET", DagAccessEntity.RUN, DEPLOY))
# The DAG is the route's `dag_id`.
may_read_run = Depends(requires_access_dag("GET", DagAccessEntity.RUN))


def may(user: Any, method: str, dag_id: str) -> bool:
    """Whether a user may read ("GET") or trigger ("POST") a DAG's runs."""
    from airflow.models.dag import DagModel

    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=details, user=user
    )
