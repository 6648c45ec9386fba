"""What configurations with an endpoint share."""

from __future__ import annotations

from musher import images, instances
from musher.config.fields import Configuration

# The limits of a field that names a registered model, or is empty.
MODEL_PACKAGE = {
    "pattern": r"^(arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/\S+)?$",
    "examples": ["arn:aws:sagemaker:us-east-1:111122223333:model-package/musher-image-classifier/3"],
}


def check_endpoint_type(config: Configuration) -> None:
    """Raise ValueError where the field `instance_type` is nothing that an endpoint of ours runs on; its default is."""
    chosen = config.instance_type
    if chosen != type(config).model_fields["instance_type"].default:
        instances.check("instance_type", chosen, instances.ENDPOINT)
        images.device("instance_type", chosen, images.INFERENCE)
