"""What several requests share: tags, channels, hyperparameters and script mode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from musher.config import Environment
from musher.names import Run

# Where the code channel appears in the container. The jobs have no network, so the toolkit cannot fetch the archive
# from S3 itself: it comes as a channel, as the SageMaker SDK does it under network isolation.
_SUBMIT_DIRECTORY = "/opt/ml/input/data/code/sourcedir.tar.gz"


def tags(env: Environment, run: Run, expires: str = "") -> list[dict[str, str]]:
    """The tags of everything billed, in SageMaker's form."""
    return [{"Key": key, "Value": value} for key, value in run.tags(env.project, expires).items()]


def channel(name: str, uri: str) -> dict[str, Any]:
    """One input channel: every object under the S3 prefix `uri`, on every instance, as files."""
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        },
        "InputMode": "File",
    }


def plain(value: object) -> str:
    """A value as it stands on the script's command line: `true`, `32`, `resnet18`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def text(value: object) -> str:
    """A hyperparameter's value as SageMaker takes it: text that reaches the script's command line unchanged.

    The toolkit JSON-decodes every value and prints the result again, so `true` would arrive as `True` and `1e-3` as
    `0.001`; a text that does not survive this is sent JSON-encoded, which does.
    Source: sagemaker-training toolkit, `environment.read_hyperparameters` and `mapping.to_cmd_args`.
    """
    given = plain(value)
    try:
        survives = str(json.loads(given)) == given
    except ValueError:
        survives = True
    return given if survives else json.dumps(given)


def given(values: Mapping[str, str]) -> dict[str, str]:
    """What `script_mode` was given, from a finished job's hyperparameters: `text` undone, SageMaker's own left out."""
    found = {}
    for name, value in values.items():
        if not name.startswith(("sagemaker_", "_")):
            try:
                decoded = json.loads(value)
            except ValueError:
                decoded = value
            found[name] = decoded if isinstance(decoded, str) else value
    return found


def script_mode(env: Environment, program: str, values: Mapping[str, object], *, distributed: bool) -> dict[str, str]:
    """The hyperparameters that make AWS's PyTorch image run our `program` with `values` as its arguments.

    `distributed` starts the program through torchrun on every instance.
    Source: sagemaker-training toolkit, params; sagemaker-pytorch-training, `training.train`.
    """
    settings = {
        "sagemaker_program": program,
        "sagemaker_submit_directory": _SUBMIT_DIRECTORY,
        "sagemaker_region": env.region,
        "sagemaker_container_log_level": "20",
    }
    if distributed:
        settings["sagemaker_torch_distributed_enabled"] = "true"  # read as a boolean, so not encoded by text()
    return {name: text(value) for name, value in values.items()} | settings
