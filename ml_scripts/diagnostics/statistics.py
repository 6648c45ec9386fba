"""What is recorded of a training, and all that a rule gets to see: numbers, no tensors."""

import math
from array import array
from dataclasses import dataclass, field


@dataclass
class Parameter:
    """One trained tensor at one sampled step.

    Of a large tensor a part is looked at, ``numbers`` of them: the means of their absolute values, how many are zero,
    how many have ``changed`` since the sampled step before, the norms of the weights before the step and of the step's
    update. A mean is NaN or infinite where any number of the tensor is, and not all are zero where any is not.
    ``spread`` is the distance from the 5th to the 95th percentile of the gradient, recorded in the first steps only.
    """

    name: str
    gradient_mean: float
    weight_mean: float
    numbers: int
    gradient_zeros: int
    weight_zeros: int
    weight_norm: float
    update_norm: float
    changed: int
    spread: float | None = None


@dataclass
class Activation:
    """The inputs of one activation function at one sampled step; a unit is a neuron, or a channel of a convolution.

    ``activity[p]`` is how many units were active for p (and less than p + 1) percent of their inputs: above 0 for a
    ReLU, within the limits of saturation for tanh and sigmoid.
    """

    name: str
    kind: str
    inputs: int
    variance: float
    activity: list[int]

    def below(self, percent: float) -> float:
        """Which percentage of the units was active for less than ``percent`` of their inputs."""
        return 100 * sum(self.activity[: math.ceil(percent)]) / sum(self.activity)


@dataclass
class Sample:
    """One sampled step; steps count from 1. ``loss`` is the mean over the step's batch."""

    step: int
    epoch: int
    loss: float
    parameters: list[Parameter]
    activations: list[Activation]


@dataclass
class Inputs:
    """What the network was fed, after normalisation, by colour."""

    pictures: int
    mean: list[float]
    deviation: list[float]
    minimum: list[float]
    maximum: list[float]


@dataclass
class Statistics:
    """All that rules are evaluated on.

    ``trained`` is ``head`` or ``all``; ``labels`` the number of training pictures of each class; ``losses[i]`` the
    loss of step ``first_step + i``; ``epochs`` the entries of history.json. ``confusion[true][predicted]`` counts the
    validation pictures at the best epoch so far. ``leaked`` names validation pictures that are training pictures, too;
    None where nobody has looked. ``idle_seconds`` is the longest time without progress.
    """

    trained: str
    classes: list[str]
    labels: list[int]
    batch_size: int
    planned_epochs: int
    steps_per_epoch: int
    first_step: int = 1
    losses: array = field(default_factory=lambda: array("d"))
    epochs: list[dict[str, float]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    confusion: list[list[int]] | None = None
    inputs: Inputs | None = None
    leaked: list[str] | None = None
    idle_seconds: float = 0.0
    finished: bool = False

    @property
    def chance_loss(self) -> float:
        """The loss of a model that holds every class for equally likely."""
        return math.log(len(self.classes))

    @property
    def step(self) -> int:
        """The last step that was taken."""
        return self.first_step + len(self.losses) - 1
