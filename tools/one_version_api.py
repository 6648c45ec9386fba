"""Airflow's Execution API in its newest version alone.

The API server makes the routes of every version that it has ever had, nine in 3.3.1, when the first task calls: four
CPU seconds, for which that task waits. Here tasks come from the very same Airflow and speak the newest one.
"""

from __future__ import annotations


def serve_the_newest_version_alone() -> None:
    """To be called before the API is made; who has called it shares the routes with all that it forks."""
    from airflow.api_fastapi.execution_api import versions
    from airflow.api_fastapi.execution_api.routes import execution_api_router
    from cadwyn import HeadVersion, Version, VersionBundle
    from cadwyn.route_generation import _DELETED_ROUTE_TAG

    versions.bundle = VersionBundle(HeadVersion(), Version(versions.bundle.versions[0].value))
    # Marked routes are those that only older versions have; Cadwyn refuses one that none has.
    routes = execution_api_router.routes
    routes[:] = [route for route in routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())]
