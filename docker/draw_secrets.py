"""Draw what the containers have to keep secret, once, into four volumes: the passwords of the database and of Celery's
broker, the token by which Airflow gets its role's credentials from the local AWS, and all of Airflow's.

The database's, the broker's and the local AWS's own users read theirs, so the files are readable to everyone who has
that volume.
"""

import base64
import os
from pathlib import Path

ROOT = Path("/opt/musher/secrets")


def write(file: Path, text: str) -> None:
    """All of it or nothing: a half-written secret would be taken for a drawn one at the next start."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o444)
    fresh.replace(file)


def drawn(file: Path) -> str:
    if not file.exists():
        write(file, base64.urlsafe_b64encode(os.urandom(32)).decode())
    return file.read_text()


password = drawn(ROOT / "database/password")
write(ROOT / "airflow/aws_token", drawn(ROOT / "aws/token"))
for name in ("fernet_key", "jwt_secret", "api_secret_key"):
    drawn(ROOT / "airflow" / name)
write(ROOT / "airflow/sql_alchemy_conn", f"postgresql+psycopg2://airflow:{password}@postgres/airflow")
write(ROOT / "airflow/result_backend", f"db+postgresql+psycopg2://airflow:{password}@postgres/airflow")
broker = drawn(ROOT / "broker/password")
write(ROOT / "broker/redis.conf", f"requirepass {broker}\n")
write(ROOT / "airflow/broker_url", f"redis://:{broker}@redis:6379/0")
