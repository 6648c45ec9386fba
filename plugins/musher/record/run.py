"""All parts of a run's record, joined: what the report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import Field

from musher.record.comparison import ModelComparison
from musher.record.costs import Costs, ProjectedCosts
from musher.record.dataset import Dataset
from musher.record.diagnostics import Diagnostics
from musher.record.ec2 import Ec2Training
from musher.record.load_test import LoadTest, Verdict
from musher.record.model import Evaluation, Model
from musher.record.parity import Parity
from musher.record.part import Entry, Part, RecordError
from musher.record.profile import Profile
from musher.record.rehearsal import Rehearsal
from musher.record.release import Approval, Release
from musher.record.serving import Autoscaling, Endpoint, Function
from musher.record.training import Training, Tuning

PARTS: dict[str, type[Part]] = {
    part.NAME: part
    for part in (
        Dataset,
        Tuning,
        Training,
        Ec2Training,
        Diagnostics,
        Profile,
        Model,
        Evaluation,
        Endpoint,
        Autoscaling,
        Function,
        Rehearsal,
        Parity,
        LoadTest,
        Verdict,
        Approval,
        Release,
        ModelComparison,
        ProjectedCosts,
        Costs,
    )
}


class RunRecord(Entry):
    """A run and its parts; a part that was not run is None.

    `environment` is `aws` or `local`: a local report says what is simulated. `created_at` is ISO 8601;
    `minute_seconds` how long an AWS minute lasts there. `fixture` says that a record is invented. `unreadable` is a
    sentence for each part that is there but cannot be read.
    """

    run: str
    environment: str = "aws"
    created_at: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    dag: str | None = None
    run_id: str | None = None
    region: str | None = None
    minute_seconds: float | None = None
    fixture: str | None = None
    unreadable: dict[str, str] = {}
    dataset: Dataset | None = None
    tuning: Tuning | None = None
    training: Training | None = None
    ec2_training: Ec2Training | None = None
    diagnostics: Diagnostics | None = None
    profile: Profile | None = None
    model: Model | None = None
    evaluation: Evaluation | None = None
    endpoint: Endpoint | None = None
    autoscaling: Autoscaling | None = None
    function: Function | None = Field(None, alias="lambda")
    rehearsal: Rehearsal | None = None
    parity: Parity | None = None
    load_test: LoadTest | None = None
    verdict: Verdict | None = None
    approval: Approval | None = None
    release: Release | None = None
    model_comparison: ModelComparison | None = None
    projected_costs: ProjectedCosts | None = None
    costs: Costs | None = None

    @classmethod
    def from_json(cls, content: Any, where: str = "") -> Self:
        """A record whose parts are read one by one: what is wrong with one leaves the others."""
        if not isinstance(content, Mapping):
            raise RecordError(f"{where or 'The run record'} is damaged: it has to be an object of parts.")
        parts: dict[str, Part] = {}
        unreadable = dict(content.get("unreadable") or {})
        for name, kind in PARTS.items():
            if content.get(name) is None:
                continue
            try:
                parts[name] = kind.from_json(content[name], name)
            except RecordError as error:
                unreadable[name] = str(error)
        facts = {name: value for name, value in content.items() if name not in PARTS}
        return super().from_json({**facts, **parts, "unreadable": unreadable}, where)

    def to_json(self) -> dict[str, Any]:
        """What report.json holds: each part as its own file has it, None where it was not run."""
        parts = {name: getattr(self, _FIELDS[name]) for name in PARTS}
        facts = self.model_dump(mode="json", exclude=set(_FIELDS.values()))
        return facts | {name: part and part.to_json() for name, part in parts.items()}


_FIELDS = {name: "function" if name == Function.NAME else name for name in PARTS}
