"""Draw what the containers have to keep secret, once, into two volumes: the database's password, and all of Airflow's.

The database's own user reads the first, so its files are readable to everyone who has that volume.
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
for name in ("fernet_key", "jwt_secret", "api_secret_key"):
    drawn(ROOT / "airflow" / name)
write(ROOT / "airflow/sql_alchemy_conn", f"postgresql+psycopg2://airflow:{password}@postgres/airflow")
