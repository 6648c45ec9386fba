"""Everything a training run stages, in one call."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from musher.config import Environment, TrainingConfig
from musher.staging.code import stage_code
from musher.staging.folders import ml_scripts_folder
from musher.staging.pretrained import stage_pretrained


def stage_inputs(
    client: Any, config: TrainingConfig, env: Environment, cache: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Stage the code archive and the pretrained weights that `config` asks for.

    Returns plain values for XCom: `code` (uri, sha256, sent) and `pretrained` (uri, backbone, file, sha256, source,
    sent); the two `uri` are what `request_parameters.Inputs` takes. Raises StagingError.
    """
    code = stage_code(client, env.bucket, ml_scripts_folder(env), cache)
    weights = stage_pretrained(
        client, env.bucket, config.backbone, config.pretrained_source, mirror=env.pretrained_source, cache=cache
    )
    return {"code": asdict(code), "pretrained": asdict(weights)}
