"""Facts of the environment a run happens in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from musher import images, names
from musher.config.deployment import DeploymentConfig
from musher.config.fields import Configuration
from musher.config.security_audit import AcceptedFinding
from musher.config.training import TrainingConfig
from musher.errors import ConfigError

_ROLE = r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$"
_ROLE_EXAMPLE = "arn:aws:iam::111122223333:role/musher-training"
_IMAGE = r"^(\S+/\S+:\S+)?$"
_IMAGE_EXAMPLE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/my-pytorch:1"


class Environment(Configuration):
    """Facts of the environment, from the Airflow Variable `musher`: written by the infrastructure, never by a run."""

    _origin: ClassVar[str] = "Airflow Variable musher: "

    bucket: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        examples=["my-company-musher"],
        description="Where everything lives.",
    )
    region: str = Field(
        pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", examples=["us-east-1"], description="The AWS region of all of it."
    )
    training_role_arn: str = Field(pattern=_ROLE, examples=[_ROLE_EXAMPLE], description="The role of training jobs.")
    endpoint_role_arn: str = Field(pattern=_ROLE, examples=[_ROLE_EXAMPLE], description="The role of the endpoint.")
    lambda_role_arn: str = Field(pattern=_ROLE, examples=[_ROLE_EXAMPLE], description="The role of the function.")
    lambda_rehearsal_role_arn: str = Field(
        "",
        pattern=_ROLE.replace("^", "^(").replace("$", ")?$"),
        examples=[_ROLE_EXAMPLE],
        description="The role of the function that a release rehearses with; empty: lambda_role_arn.",
    )
    training_image: str = Field(
        "",
        pattern=_IMAGE,
        examples=[_IMAGE_EXAMPLE],
        description="An image of your own for jobs; empty: AWS's PyTorch image for the region and the instance type.",
    )
    inference_image: str = Field(
        "",
        pattern=_IMAGE,
        examples=[_IMAGE_EXAMPLE],
        description="An image of your own for the endpoint; empty: AWS's, as above.",
    )
    kind: Literal["aws", "local"] = Field("aws", description="AWS itself, or the local AWS; the report says which.")
    project: str = Field("musher", description="The prefix of every name, and the value of the `project` tag.")
    poll_seconds: float = Field(30, gt=0, le=600, description="How long to wait between two polls of AWS.")
    pretrained_source: str = Field(
        "",
        description="A folder or http(s) address with the backbones' own weight files; empty: PyPI and PyTorch's site.",
    )
    ec2_instance_profile: str = Field(
        "",
        pattern=r"^[\w+=,.@-]{0,128}$",
        examples=["musher-ec2"],
        description="The name of the EC2 instances' instance profile.",
    )
    ec2_security_group: str = Field(
        "",
        pattern=r"^(sg-[0-9a-f]+)?$",
        examples=["sg-0123456789abcdef0"],
        description="Admits SSH from Airflow's workers to EC2 instances.",
    )
    ec2_subnet: str = Field(
        "",
        pattern=r"^(subnet-[0-9a-f]+)?$",
        examples=["subnet-0123456789abcdef0"],
        description="Where EC2 instances start; empty: the default network's.",
    )
    ec2_user: str = Field(
        "ubuntu",
        pattern=r"^[a-z_][a-z0-9_-]{0,31}$",
        examples=["ubuntu"],
        description="The user to log in as on instances of the image.",
    )
    ec2_address: Literal["private", "public"] = Field(
        "private", description="Which address of an EC2 instance Airflow's workers can reach."
    )
    ssh_port: int = Field(22, ge=1, le=65_535, description="Where EC2 instances listen for SSH.")
    notifications_topic_arn: str = Field(
        "",
        pattern=r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256})?$",
        examples=["arn:aws:sns:us-east-1:111122223333:musher-notifications"],
        description="The SNS topic that is told when an approval waits, when something was rolled back or removed, "
        "when an alarm of what serves goes off, and when a rule finds something in a training; empty: none.",
    )
    training: Mapping[str, Any] = Field(
        {},
        examples=[{"paths": "several"}],
        description="Fields of train_image_classifier's form for the runs that start by themselves.",
    )
    deployment: Mapping[str, Any] = Field(
        {},
        examples=[{"approval": "before_release"}],
        description="Fields of deploy_image_classifier's form for the runs that a registered model starts.",
    )
    accepted_findings: list[Mapping[str, Any]] = Field(
        [],
        min_length=0,
        max_length=100,
        examples=[
            {
                "check": "topic",
                "where": "arn:aws:sns:us-east-1:111122223333:musher-notifications",
                "severity": "medium",
                "reason": "the operations account reads it",
                "until": "2027-06-30",
            }
        ],
        description="Findings of audit_security that the team has accepted: shown, and no reason to fail until the day "
        "has passed.",
    )
    ml_scripts: str = Field("", description="The folder ml_scripts; empty: it is looked for beside the DAGs.")
    lambda_folder: str = Field("", description="The folder lambda; empty: it is looked for beside the DAGs.")

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names.check_project(self.project)
        for field, kind in (("training", TrainingConfig), ("deployment", DeploymentConfig)):
            try:
                kind.from_params(getattr(self, field))
            except ConfigError as error:
                raise ValueError(f"{field}: {error}") from None
        for number, each in enumerate(self.accepted_findings):
            try:
                AcceptedFinding.from_params(each)
            except ConfigError as error:
                raise ValueError(f"accepted_findings[{number}]: {error}") from None
        if not (self.training_image and self.inference_image):
            images.account(self.region)
        return self

    @classmethod
    def load(cls) -> Self:
        """The environment of this Airflow. Call it while a task runs, never when a DAG file is parsed.

        Raises ConfigError when the Variable is missing or wrong.
        """
        from airflow.sdk import Variable

        values = Variable.get("musher", default=None, deserialize_json=True)
        if not isinstance(values, Mapping):
            raise ConfigError(
                "The Airflow Variable musher is missing; it has to be a JSON object with "
                f"{', '.join(name for name, field in cls.model_fields.items() if field.is_required())}."
            )
        return cls.from_params(values)

    @property
    def model_package_group(self) -> str:
        """Where models are registered: the one group that the role of Airflow may use."""
        return names.model_package_group(self.project)

    @property
    def accepted(self) -> list[AcceptedFinding]:
        """`accepted_findings`, read."""
        return [AcceptedFinding.from_params(each) for each in self.accepted_findings]

    def image_for_training(self, instance_type: str) -> str:
        """What jobs on this instance type run in. Raises ConfigError for a type that AWS's image does not run on."""
        device = images.device("training_instance_type", instance_type, images.TRAINING)
        return self.training_image or images.image(images.TRAINING, device, self.region)

    def uri(self, *parts: str) -> str:
        """`s3://<bucket>/<parts joined by />`; end with an empty part for a folder."""
        return f"s3://{self.bucket}/{'/'.join(parts)}"
