"""How a script ends: with one sentence when the user can do something about it, and never by hanging.

SageMaker shows the first 1,024 characters of ``<output>/failure`` as the job's FailureReason
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html), so that
file and stderr carry the same sentence.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

FAILURE_REASON_LIMIT = 1024
STOPPED_STATUS = 128 + 15  # what a shell reports for a process ended by SIGTERM


class UserError(Exception):
    """Something the user can put right: one sentence with the field, its value and what would be right."""


class PeerLost(Exception):
    """Another process of the same job died or no longer answers; this one cannot go on alone."""


class Stopped(Exception):
    """The job was asked to stop (SIGTERM); whatever could be saved has been saved."""


def failure_folder(argv: list[str], environ: dict[str, str]) -> Path | None:
    """Where ``failure`` belongs: SM_OUTPUT_DIR, else next to the output data; None if neither is known."""
    if environ.get("SM_OUTPUT_DIR"):
        return Path(environ["SM_OUTPUT_DIR"])
    data = environ.get("SM_OUTPUT_DATA_DIR")
    if "--output-dir" in argv[:-1]:
        data = argv[argv.index("--output-dir") + 1]
    if not data:
        return None
    return Path(data).parent if Path(data).name == "data" else Path(data)


def run(main: Callable[[list[str]], None]) -> None:
    """Run a script's ``main(argv)`` and end the process with the status its outcome deserves.

    0: done. 1: failed; a :class:`UserError` or :class:`PeerLost` leaves one sentence, anything else its
    traceback. 143: stopped by SIGTERM.
    """
    argv = sys.argv[1:]
    status, sentence = 0, None
    try:
        main(argv)
    except Stopped as stopped:
        status = STOPPED_STATUS
        print(f"stopped: {stopped}", file=sys.stderr)
    except (UserError, PeerLost) as error:
        status, sentence = 1, str(error)
        print(sentence, file=sys.stderr)
    except Exception as error:
        status, sentence = 1, f"{type(error).__name__}: {error}"
        traceback.print_exc()
    if sentence is not None:
        _write_failure(failure_folder(argv, dict(os.environ)), sentence)
    sys.stdout.flush()
    sys.stderr.flush()
    if status:
        # Not sys.exit: the process group's destructors may wait for a rank that no longer exists.
        os._exit(status)


def end(sentence: str) -> None:
    """End the process as :func:`run` does after a :class:`UserError`, from any thread."""
    print(sentence, file=sys.stderr)
    _write_failure(failure_folder(sys.argv[1:], dict(os.environ)), sentence)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _write_failure(folder: Path | None, sentence: str) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failure").write_text(sentence[:FAILURE_REASON_LIMIT])
    except OSError as error:
        print(f"could not write {folder / 'failure'}: {error}", file=sys.stderr)
