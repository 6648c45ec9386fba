"""What Airflow mounts of Musher in its UI: the page in the navigation, and the tab "Report" of each run.

Every process of Airflow imports its plugins; only the API server needs the application, so that is made when it is
first called.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from musher.page.mount import PREFIX, Application


class MusherPage(AirflowPlugin):
    name = "musher"
    fastapi_apps = [{"app": Application(), "url_prefix": f"/{PREFIX}", "name": "Musher"}]
    # Without a slash in front: Airflow may be served below a path of its own.
    external_views = [
        {
            "name": "Musher",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "url_route": "musher",
            "nav_top_level": True,
            "icon": f"{PREFIX}/static/musher.svg",
            "icon_dark_mode": f"{PREFIX}/static/musher-dark.svg",
        },
        {
            "name": "Report",
            "href": f"{PREFIX}/report/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "report",
        },
    ]
