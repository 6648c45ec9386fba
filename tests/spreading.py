"""How tests are spread over pytest-xdist's processes: a file stays together, and the long ones start first."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Files whose tests share what takes long to start: one process has both.
TOGETHER = {
    "tests/chain/test_approval.py": "tests/chain/test_training_jobs.py",
    "tests/chain/test_page.py": "tests/chain/test_training_jobs.py",
    "tests/chain/test_without_airflow.py": "tests/chain/test_training_jobs.py",
}


class LongOnesFirst(LoadScopeScheduling):
    """Gives out files from the front of the collection, where the long ones are, and from its end in turn.

    A process starts a test only when it knows the next one, which then nobody else can take. So a short unit waits
    behind a long one.
    """

    def __init__(self, config, log=None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # it would sort units by the number of their tests
        self._last_was_long: dict[WorkerController, bool] = {}

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return TOGETHER.get(file, file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        long = not self._last_was_long.get(node, False)
        if not long:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        self._last_was_long[node] = long
        super()._assign_work_unit(node)
