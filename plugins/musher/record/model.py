"""The chosen model: what it gets right and wrong, and how it was registered."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from musher.record.part import Entry, Part


class ClassAccuracy(Entry):
    """How many of a class's test pictures were told right; `accuracy` is 0 to 1."""

    label: str
    images: int
    accuracy: float


class WorstPicture(Entry):
    """A picture that the model got very wrong: `probability` of the true label, `thumbnail` as base64 JPEG."""

    file: str
    label: str
    predicted: str
    probability: float
    thumbnail: str = ""


class Unreadable(Entry):
    """A file that could not be read as a picture, and was left out."""

    file: str
    reason: str


class Validation(Entry):
    """What the kept epoch reached on the validation set: models are chosen by its loss."""

    epoch: int
    loss: Annotated[float, Field(ge=0)]
    accuracy: Annotated[float, Field(ge=0, le=1)]


class Evaluation(Part):
    """A model on the test pictures: what the evaluating job wrote. `confusion[true][predicted]` are counts.

    `validation` is there where the job trained the model.
    """

    NAME: ClassVar[str] = "evaluation"

    accuracy: Annotated[float, Field(ge=0, le=1)]
    loss: Annotated[float, Field(ge=0)]
    images: Annotated[int, Field(ge=0)]
    classes: list[str]
    per_class: list[ClassAccuracy] = []
    confusion: list[list[int]] = []
    worst: list[WorstPicture] = []
    unreadable: list[Unreadable] = []
    validation: Validation | None = None


class JudgedPicture(NamedTuple):
    """What a model said of a test picture: `file` below the test folder, its `bytes`, the `label` that is right and the
    one `predicted` (positions in the classes), and the `probability` of that."""

    file: str
    bytes: Annotated[int, Field(ge=0)]
    label: Annotated[int, Field(ge=0)]
    predicted: Annotated[int, Field(ge=0)]
    probability: Annotated[float, Field(ge=0, le=1)]


class Predictions(Part):
    """What a model said of each test picture when it was judged; `weights` as its answers tell them.

    It lies beside a run's parts and is none of the report's: what serves is held against it.
    """

    NAME: ClassVar[str] = "predictions"

    weights: str
    classes: list[str]
    pictures: list[JudgedPicture]

    @model_validator(mode="after")
    def _of_known_classes(self) -> Self:
        for each in self.pictures:
            if max(each.label, each.predicted) >= len(self.classes):
                raise ValueError(f"{each.file} has a class beyond the {len(self.classes)} that there are")
        return self


class ComparedModel(Entry):
    """The model in service, on the test pictures that the candidate was measured on.

    `package_arn` None for a model that comes from no package.
    """

    package_arn: str | None
    accuracy: float
    loss: float
    images: int
    classes: list[str]
    per_class: list[ClassAccuracy]


class Model(Part):
    """The registered model package: `status` Approved or Rejected with the quality gate's `reason`.

    `sha256` of its model.tar.gz; `test_accuracy` 0 to 1; `compared_with` None where no model was in service, or
    where it was left out of the comparison, as `reason` says.
    """

    NAME: ClassVar[str] = "model"

    package_arn: str
    status: str | None = None
    reason: str | None = None
    sha256: str
    job: str | None = None
    test_accuracy: float | None
    labels: list[str]
    compared_with: ComparedModel | None = None
