"""`docker compose run --rm demo`: the demo, on the stack that docker-compose.yaml's other services are.

    python -m tools.compose_demo [DATASET]

As `make demo`: exit status 0 when the verdict is a pass. DATASET is a path in the container (`/opt/musher/pictures` is
what PICTURES names), an address or an s3:// prefix; without it, pictures are drawn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import ClassVar

from tools import demo
from tools.airflow_rest import Airflow
from tools.stack import START_SECONDS, Stack, StackError


class ComposeStack(Stack):
    """A stack that compose starts and stops: here it is only waited for."""

    STOP: ClassVar[str] = "docker compose down"
    LOGS_ARE: ClassVar[str] = "`docker compose logs` has its logs"

    def up(self, say: Callable[[str], None] = print) -> None:
        """Wait for what compose has started. Raises StackError."""
        airflow, deadline = Airflow(self.airflow_url), time.monotonic() + START_SECONDS
        while not (airflow.ready() and self._health().get("status") == "ready"):
            if time.monotonic() > deadline:
                raise StackError(f"The stack is not ready within {START_SECONDS} s; see `docker compose ps`.")
            time.sleep(1)
        say(f"Up: the local AWS at {self.aws_url}, Airflow at {self.airflow_url}.")

    def down(self, say: Callable[[str], None] = print) -> None:
        """Compose's business. Raises StackError."""
        raise StackError(f"`{self.STOP}` stops this stack.")


if __name__ == "__main__":
    status = demo.main(ComposeStack)
    demo.say("To have the report on this machine: docker compose cp scheduler:/opt/musher/build/demo build/")
    sys.exit(status)
