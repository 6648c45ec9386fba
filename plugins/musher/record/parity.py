"""What serves, held against what was judged."""

from __future__ import annotations

from typing import ClassVar

from musher.record.load_test import LoadPhase
from musher.record.part import Entry, Part
from musher.record.release import JudgeCheck


class Difference(Entry):
    """A picture on which what serves says something else than what was judged: the labels, and their probabilities."""

    file: str
    label: str
    judged: str
    judged_probability: float
    served: str
    served_probability: float


class Comparison(Entry):
    """Answers against the evaluation's predictions of the same pictures.

    `compared` counts answers; of them `agreed` have the evaluation's label with a probability within the `tolerance`,
    and `near_ties` another label that is as probable, within the tolerance. `largest_difference` between two
    probabilities of the evaluation's label; `differences` are the pictures that differ most. `judged_accuracy` is the
    evaluation's on what was compared. `not_compared` says why nothing was.
    """

    compared: int = 0
    agreed: int = 0
    near_ties: int = 0
    largest_difference: float | None = None
    tolerance: float
    judged_weights: str | None = None
    judged_accuracy: float | None = None
    differences: list[Difference] = []
    not_compared: str | None = None


class AccuracyCheck(Entry):
    """The answers' accuracy, held against the one that the model was registered with.

    Of `pictures`, each counted once, `right` were told right; `registered` as a share, of `registered_pictures` where
    that is known. `less` whether the answers are certainly (`p_value`), and by more than is allowed, less accurate.
    """

    right: int
    pictures: int
    registered: float
    registered_pictures: int | None = None
    p_value: float
    less: bool
    why: str


class Parity(Part):
    """Whether the function in front of the endpoint says what the model said when it was judged, and in time.

    `weights` and `model_names` are those that the answers tell; `pictures` how many different ones were sent;
    `accuracy` that of the answers, against the pictures' true classes. `registered` that against the registration's,
    where there are no predictions of the evaluation to compare with; `pace` the latency beside what serves, None where
    nothing does. `reasons` say why it has not `passed`.
    """

    NAME: ClassVar[str] = "parity"

    stack: str
    function: str
    alias: str
    weights: list[str] = []
    model_names: list[str] = []
    pictures: int
    accuracy: float | None
    comparison: Comparison
    registered: AccuracyCheck | None = None
    pace: JudgeCheck | None = None
    load: LoadPhase
    latency_limit_ms: float
    passed: bool
    reasons: list[str] = []
