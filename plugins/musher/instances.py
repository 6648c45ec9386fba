"""Which instance types exist, as the pinned botocore knows them, and what their names say of them.

Nothing is loaded before the first question: botocore's SageMaker model takes a tenth of a second, and DAG files are
parsed every few seconds.
"""

from __future__ import annotations

import difflib
import re
from functools import cache

TRAINING = "TrainingInstanceType"
ENDPOINT = "ProductionVariantInstanceType"

# What computes in an instance.
CPU, GPU, ARM, NEURON, GAUDI = "cpu", "gpu", "arm", "neuron", "gaudi"
_ACCELERATED = {"g": GPU, "p": GPU, "inf": NEURON, "trn": NEURON, "dl": GAUDI}

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
    return bool(re.match(r"t\d", family(instance_type)))


def family(instance_type: str) -> str:
    """`g4dn` of `ml.g4dn.xlarge`."""
    return instance_type.removeprefix("ml.").split(".")[0]


def processor(instance_type: str) -> str:
    """What computes in an instance of this type: `CPU` (x86), `GPU` (NVIDIA's, beside x86), `ARM`, `NEURON`, `GAUDI`.

    Source: EC2 user guide, "Amazon EC2 instance type naming conventions": the letters before the generation say what
    the family is for, a g after it stands for Graviton; in a GB200 NVIDIA's processors are ARM's as well.
    """
    parts = re.match(r"([a-z]+)\d+([a-z]*)(-gb)?", family(instance_type))
    if parts is None:
        return CPU
    kind, options, grace = parts.groups()
    return ARM if "g" in options or grace else _ACCELERATED.get(kind, CPU)


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
