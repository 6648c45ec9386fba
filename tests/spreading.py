"""How tests are spread over pytest-xdist's processes: a file stays together, and the long ones start first."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Files whose tests share what takes long to start, or to import: one process has all of them.
TOGETHER = {
    file: shared
    for shared, files in {
        # a stack
        "tests/chain/test_training_jobs.py": (
            "tests/chain/test_approval.py",
            "tests/chain/test_page.py",
            "tests/chain/test_without_airflow.py",
        ),
        # what moto has of the services that live here
        "tests/local_aws/test_owners.py": (
            "tests/local_aws/test_iam_table.py",
            "tests/local_aws/test_members.py",
            "tests/tools/test_reference_docs.py",
        ),
        # scipy.stats
        "tests/plugins/release/test_judge.py": (
            "tests/plugins/comparison/test_differences.py",
            "tests/plugins/comparison/test_findings.py",
            "tests/plugins/page/test_samples.py",
            "tests/plugins/release/test_registered_accuracy.py",
        ),
        # matplotlib
        "tests/plugins/report/test_page.py": (
            "tests/plugins/costs/test_storage.py",
            "tests/plugins/report/test_comparison_page.py",
            "tests/plugins/report/test_diagnostics_charts.py",
        ),
        # which packages are installed, and what the project's modules import
        "tests/tools/test_package.py": ("tests/compose/test_compose_file.py",),
        # AWS's models of all services that the code calls
        "tests/infra/test_least_privilege.py": ("tests/infra/test_template.py",),
    }.items()
    for file in files
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
