"""Whether AWS still patches the images that the project runs in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from musher import images
from musher.audit.looking import LOW, MEDIUM, Looking
from musher.hooks.sagemaker_jobs import tags_of
from musher.hooks.serving import found

IMAGE = "image"


def look(at: Looking, used: Mapping[str, str]) -> None:
    """Look at the images of the project's endpoints, and at those that jobs and endpoints will be started with.

    Parameters: `used` images by what is started with them. Of an image that is not AWS's nothing is known here.
    """
    named = {(f"image of {what}", image) for what, image in used.items()}
    with at.at("the list of endpoints"):
        for name, image in _serving(at):
            named.add((f"endpoint {name}", image))
    for where, image in sorted(named):
        if sentence := images.support(image, at.now.date()):
            version = images.version_of(image)
            ended = version is not None and version.end_of_support < at.now.date()
            at.found(
                MEDIUM if ended else LOW,
                IMAGE,
                where,
                sentence,
                "Deploy with a newer image: with the Variable's training_image and inference_image, or a newer Musher; "
                "`make images` says which AWS supports.",
            )


def _serving(at: Looking) -> Iterator[tuple[str, str]]:
    """The project's endpoints, each with the image of each of its models' containers."""
    client = at.client("sagemaker")
    for page in client.get_paginator("list_endpoints").paginate():
        for each in page["Endpoints"]:
            name = each["EndpointName"]
            with at.at(f"the endpoint {name}"):
                if tags_of(client, each["EndpointArn"]).get("project") == at.project:
                    yield from ((name, image) for image in _images(client, name))


def _images(client: Any, endpoint: str) -> Iterator[str]:
    now = found(lambda: client.describe_endpoint(EndpointName=endpoint))
    if now is None:
        return
    config = client.describe_endpoint_config(EndpointConfigName=now["EndpointConfigName"])
    for variant in (*config["ProductionVariants"], *config.get("ShadowProductionVariants", ())):
        if not variant.get("ModelName"):
            continue
        model = client.describe_model(ModelName=variant["ModelName"])
        containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else model.get("Containers") or []
        yield from (each["Image"] for each in containers if each.get("Image"))
