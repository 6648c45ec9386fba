"""What a training run is told: hyperparameters as ``--key value``, folders from SageMaker's environment.

SageMaker's toolkit passes every hyperparameter as ``--name value`` and names the channels' folders in
``SM_CHANNEL_<NAME>`` (https://github.com/aws/sagemaker-training-toolkit#environment-variables). Every folder
has a flag as well, so that the same script runs by hand.
"""

import argparse
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from diagnostics.choice import Chosen, choose
from errors import UserError
from profiling.choice import Recorded, choose_profile

BACKBONE_NAMES = ("efficientnet_lite0", "resnet18", "resnet50")
DEFAULT_PEER_TIMEOUT = 60.0
WORDS = {int: "an integer", float: "a number"}


@dataclass(frozen=True)
class Settings:
    """One run's settings. ``batch_size`` is global (over all processes); sizes are pixels, times seconds.

    Features are kept in ``checkpoint_dir``, the state of the training in ``epochs_dir``: the same folder, unless
    several jobs share the first.
    """

    backbone: str
    pretrained: bool
    finetune: str
    head: str
    epochs: int
    lr: float
    batch_size: int
    accumulation: int
    seed: int
    augment_views: int
    image_size: int | None
    patience: int
    max_unreadable_share: float
    workers: int | None
    feature_cache: bool
    precision: str
    peer_timeout: float
    rules: str
    profile: str
    train: Path
    valid: Path
    test: Path
    pretrained_dir: Path | None
    model_dir: Path
    output_dir: Path
    checkpoint_dir: Path | None
    epochs_dir: Path | None

    def chosen_rules(self) -> list[Chosen]:
        """The rules that the training is watched by."""
        return choose(self.rules)

    def chosen_profile(self) -> Recorded:
        """What is recorded of the training's time."""
        return choose_profile(self.profile)

    def hyperparameters(self) -> dict[str, object]:
        """The settings that shape the model, without folders: for ``model.json``."""
        return {
            name: value for name, value in asdict(self).items() if not isinstance(value, Path) and value is not None
        }


class Parser(argparse.ArgumentParser):
    """argparse, except that a mistake is a :class:`UserError` (argparse exits with 2 and prints its usage)."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].lower()}{message[1:]}; see --help for the allowed values")


def boolean(text: str) -> bool:
    """``true``/``false`` in any case, as hyperparameters arrive."""
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def number(kind: type, low: float, high: float = float("inf"), above: bool = False):
    """A parser for an int or float from ``low`` (excluded with ``above``) to ``high``."""
    bounds = f"{'above' if above else 'at least'} {low}" + ("" if high == float("inf") else f" and at most {high}")

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (low < value if above else low <= value) or not value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not {WORDS[kind]} {bounds}")
        return value

    return parse


def add_folders(
    parser: argparse.ArgumentParser, channels: tuple[str, ...], environ: dict[str, str] | None = None
) -> None:
    """Flags for the channels and the folders SageMaker gives, with its environment variables as defaults."""
    environ = dict(os.environ) if environ is None else environ
    for channel in channels:
        flag = "--pretrained-dir" if channel == "pretrained" else f"--{channel}"
        parser.add_argument(flag, type=Path, default=_path(environ, f"SM_CHANNEL_{channel.upper()}"))
    parser.add_argument("--output-dir", type=Path, default=_path(environ, "SM_OUTPUT_DATA_DIR"))
    # SageMaker's tuner adds this one to every trial; the toolkit normally keeps it back.
    parser.add_argument("--_tuning_objective_metric", help=argparse.SUPPRESS)


def parse(argv: list[str], environ: dict[str, str] | None = None) -> Settings:
    """Read the command line and the environment.

    Raises:
        UserError: naming the flag, its value, and what would be right.
    """
    environ = dict(os.environ) if environ is None else environ
    parser = Parser(description="Train an image classifier on folders of pictures.", allow_abbrev=False)
    parser.add_argument("--backbone", choices=BACKBONE_NAMES, default="efficientnet_lite0")
    parser.add_argument("--pretrained", type=boolean, default=True, help="false: random weights, for tests")
    parser.add_argument("--finetune", choices=("head", "all"), default="head")
    parser.add_argument("--head", choices=("hidden", "linear"), default="hidden")
    parser.add_argument("--epochs", type=number(int, 1), default=10)
    parser.add_argument("--lr", type=number(float, 0, 10, above=True), default=0.001)
    parser.add_argument("--batch-size", type=number(int, 1), default=32, help="over all processes together")
    parser.add_argument(
        "--accumulation",
        type=number(int, 1, 65_536),
        default=1,
        help="parts of a batch that are computed one after the other, for less memory; the batch stays what it is",
    )
    parser.add_argument("--seed", type=number(int, 0, 2**31 - 1), default=0)
    parser.add_argument("--augment-views", type=number(int, 0, 100), default=0, help="extra views of each picture")
    parser.add_argument(
        "--image-size", type=number(int, 32, 1024), default=None, help="pixels; default: the backbone's"
    )
    parser.add_argument("--patience", type=number(int, 0), default=0, help="epochs without improvement; 0: off")
    parser.add_argument("--max-unreadable-share", type=number(float, 0, 1), default=0.05)
    parser.add_argument("--workers", type=number(int, 0, 256), default=None, help="threads that decode pictures")
    parser.add_argument("--no-feature-cache", dest="feature_cache", action="store_false", help="for comparison")
    parser.add_argument("--precision", choices=("auto", "float32"), default="auto")
    parser.add_argument(
        "--peer-timeout",
        type=number(float, 0, above=True),
        default=DEFAULT_PEER_TIMEOUT,
        help="seconds after which a silent process ends the job",
    )
    parser.add_argument(
        "--rules",
        default="default",
        help="diagnostics: default, aws or none, then rules, such as default,Overfit:off,Overtraining:end",
    )
    parser.add_argument(
        "--profile",
        default="default",
        help="profiler: default (instances and steps), aws or none, then what differs, such as default,trace:10",
    )
    add_folders(parser, ("train", "valid", "test", "pretrained"), environ)
    parser.add_argument("--model-dir", type=Path, default=_path(environ, "SM_MODEL_DIR"))
    parser.add_argument("--checkpoint-dir", type=Path, default=_path(environ, "SM_CHECKPOINT_DIR"))
    parser.add_argument(
        "--checkpoint-per-job",
        type=boolean,
        default=False,
        help="true: several jobs share the checkpoint folder, as a tuning job's trials may; each continues its own",
    )
    given = vars(parser.parse_args(argv))
    given.pop("_tuning_objective_metric")
    choose(given["rules"])
    choose_profile(given["profile"])
    for channel in ("train", "valid", "test"):
        require_channel(channel, given[channel])
    require_folder("model", given["model_dir"], "--model-dir", "SM_MODEL_DIR")
    require_folder("output", given["output_dir"], "--output-dir", "SM_OUTPUT_DATA_DIR")
    if given["checkpoint_dir"] is None:
        # On SageMaker the folder exists exactly when the job was given a CheckpointConfig.
        sibling = given["model_dir"].parent / "checkpoints"
        given["checkpoint_dir"] = sibling if sibling.is_dir() else None
    job = environ.get("TRAINING_JOB_NAME", "") if given.pop("checkpoint_per_job") else ""
    return Settings(**given, epochs_dir=given["checkpoint_dir"] and given["checkpoint_dir"] / job)


def require_channel(name: str, folder: Path | None, content: str = "one folder of pictures per class") -> None:
    """Raise a :class:`UserError` unless channel ``name`` (which should hold ``content``) is an existing folder."""
    if folder is None:
        raise UserError(
            f"channel {name} is missing: give the job an input channel of that name, or the script --{name} FOLDER"
        )
    if not folder.is_dir():
        raise UserError(f"channel {name} is {str(folder)!r}, which is no folder; it must hold {content}")


def require_folder(what: str, folder: Path | None, flag: str, variable: str) -> None:
    """Raise a :class:`UserError` unless the place for ``what`` is known."""
    if folder is None:
        raise UserError(f"the {what} folder is not known: set {flag} or the environment variable {variable}")


def _path(environ: dict[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None
