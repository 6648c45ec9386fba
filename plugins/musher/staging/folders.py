"""Where the folders ml_scripts and lambda lie: beside the DAGs here, and wherever they were put on MWAA."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import musher
from musher.config import Environment
from musher.errors import StagingError


def ml_scripts_folder(env: Environment | None = None) -> Path:
    """The folder with train.py.

    Looked up in this order: the Variable's `ml_scripts`, the environment variable MUSHER_ML_SCRIPTS, beside and in the
    DAGs' folder, beside and in the plugins' folder.
    Raises StagingError saying where it was looked for.
    """
    return _find("ml_scripts", "train.py", "MUSHER_ML_SCRIPTS", "ml_scripts", env.ml_scripts if env else "")


def lambda_folder(env: Environment | None = None) -> Path:
    """The folder with the function's handler.py; looked up as `ml_scripts_folder` does, with MUSHER_LAMBDA."""
    return _find("lambda", "handler.py", "MUSHER_LAMBDA", "lambda_folder", env.lambda_folder if env else "")


def _find(name: str, proof: str, variable: str, field: str, configured: str) -> Path:
    told = configured or os.environ.get(variable, "")
    if told:
        folder = Path(told).expanduser()
        if (folder / proof).is_file():
            return folder
        what = f"Airflow Variable musher: {field}" if configured else f"environment variable {variable}"
        raise StagingError(f"{what} is {told!r}; it has to be a folder that holds {proof}.")
    tried = [place / name for place in _places()]
    for folder in tried:
        if (folder / proof).is_file():
            return folder
    raise StagingError(
        f"the folder {name} (with {proof}) is none of {', '.join(map(str, tried))}: "
        f"put it there, or name it in {variable} or in the Airflow Variable musher as {field}."
    )


def _places() -> Iterator[Path]:
    dags = _dags_folder()
    plugins = Path(musher.__file__).resolve().parents[1]
    for folder in (dags, plugins):
        yield folder.parent
        yield folder


def _dags_folder() -> Path:
    told = os.environ.get("AIRFLOW__CORE__DAGS_FOLDER")
    if told:
        return Path(told).resolve()
    from airflow.configuration import conf

    return Path(conf.get("core", "dags_folder")).resolve()
