"""Whether a service of docker-compose.yaml is healthy: `healthy.py local-aws|api-server|scheduler|...`; exit status 0.

Airflow's API server says of every component how old its last heartbeat is: that is cheaper than Airflow's own
`airflow jobs check`, which takes seconds of a core each time.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

BROKER = Path("/opt/musher/secrets/airflow/broker_url")
PARTS = {"api-server": "metadatabase", "dag-processor": "dag_processor"}


def main(service: str) -> int:
    return worker() if service == "worker" else component(service)


def worker() -> int:
    """Airflow's API server knows nothing of Celery's workers: this asks them through the broker."""
    from celery import Celery

    answers = Celery(broker=BROKER.read_text()).control.ping(timeout=5)
    print(answers)
    return 0 if answers else 1


def component(service: str) -> int:
    local_aws = service == "local-aws"
    port = os.environ["LOCAL_AWS_PORT" if local_aws else "AIRFLOW_PORT"]
    path = "_local_aws/health" if local_aws else "api/v2/monitor/health"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            said = json.load(answer)
    except (OSError, ValueError) as error:
        print(f"{service} does not answer: {error}")
        return 1
    if warning := (said.get("state") or {}).get("warning") if local_aws else None:
        print(warning)
        return 1
    status = said.get("status") if local_aws else (said.get(PARTS.get(service, service)) or {}).get("status")
    print(status)
    return 0 if status == ("ready" if local_aws else "healthy") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
