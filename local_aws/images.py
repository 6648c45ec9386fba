"""Which container images have a stand-in here."""

from __future__ import annotations

import re

# AWS: "Available Deep Learning Containers images", registry accounts and repository names.
DEEP_LEARNING_CONTAINER = re.compile(
    r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/pytorch-(?P<purpose>training|inference)(-[a-z0-9]+)?:[\w.-]+$"
)
HAVE = "AWS's PyTorch training images (…/pytorch-training:TAG) and PyTorch inference images (…/pytorch-inference:TAG)"


def refusal(image: str, purpose: str) -> str | None:
    """Why `image` cannot run as `purpose` ("training" or "inference") here, as a sentence; None when it can."""
    match = DEEP_LEARNING_CONTAINER.match(image)
    if match and match["purpose"] == purpose:
        return None
    return f"The local AWS has no stand-in for the image {image!r} as a {purpose} image. It has stand-ins for {HAVE}."
