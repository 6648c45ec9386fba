"""Which instance types exist, and which of them can scale automatically, as the pinned botocore knows them.

Nothing is loaded before the first question: botocore's SageMaker model takes a tenth of a second, and DAG files are
parsed every few seconds.
"""

from __future__ import annotations

import difflib
from functools import cache

TRAINING = "TrainingInstanceType"
ENDPOINT = "ProductionVariantInstanceType"

_PURPOSE = {TRAINING: "training jobs", ENDPOINT: "endpoints"}


@cache
def known(kind: str) -> frozenset[str]:
    """All instance types of one kind (`TRAINING` or `ENDPOINT`), e.g. `ml.m5.xlarge`."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    return frozenset(model.shape_for(kind).enum)


def is_burstable(instance_type: str) -> bool:
    """Whether the type runs on CPU credits (t2, t3, t4g...), which AWS does not let scale automatically.

    Source: SageMaker developer guide, "Automatic scaling of models": not supported for burstable instances.
    """
    family = instance_type.removeprefix("ml.").split(".")[0]
    return len(family) > 1 and family[0] == "t" and family[1].isdigit()


def check(field: str, instance_type: str, kind: str) -> str:
    """The instance type as given, if SageMaker has it for this kind.

    Raises ValueError with one sentence that names the field, the value and the nearest existing type.
    """
    types = known(kind)
    if instance_type in types:
        return instance_type
    near = difflib.get_close_matches(instance_type, sorted(types), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "types look like ml.m5.xlarge."
    if f"ml.{instance_type}" in types:
        hint = f"did you mean ml.{instance_type}?"
    raise ValueError(f"{field} is {instance_type!r}, which is no instance type of SageMaker {_PURPOSE[kind]}: {hint}")
