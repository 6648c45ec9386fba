"""torchrun, with workers that are forked from it instead of started anew.

torchrun has imported torch already when it starts its worker, and importing it again takes each host of a short job
two seconds. Forking is torchrun's own `--run-path --start-method fork`; what differs then from `python SCRIPT` is put
right here, but for a script that ends itself by `os._exit(0)`, for which torchrun waits in vain. Runs in the jobs'
environment and imports nothing of the local AWS.
"""

import itertools
import os
import runpy
import signal
import socket
import sys
import time
import traceback

from torch.distributed import run

FIRST_HOST_SECONDS = 60


def run_script(script: str, *arguments: str) -> None:
    """Run a script as `python -u SCRIPT ...` would."""
    # The agent's handlers and multiprocessing's are not the script's.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        # torchrun waits for ever for a worker that ends itself without saying 0.
        if end.code is not None:
            raise
    except Exception as error:
        # The script's own traceback comes first, as it would; torchrun's about a child of it would hide the reason.
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename != script:
            frames = frames.tb_next
        traceback.print_exception(error.with_traceback(frames))
        sys.exit(1)


def wait_for_first_host(arguments: list[str]) -> None:
    """Let the other hosts wait for the first one's store here: torch tries again only after half a second."""
    known = dict(itertools.pairwise(arguments))
    if known.get("--node_rank", "0") == "0":
        return
    deadline = time.monotonic() + FIRST_HOST_SECONDS
    while time.monotonic() < deadline:  # then torch says what is wrong
        try:
            socket.create_connection((known["--master_addr"], int(known["--master_port"])), 1).close()
            return
        except OSError:
            time.sleep(0.02)


if __name__ == "__main__":
    run.run_script_path = run_script
    wait_for_first_host(sys.argv[1:])
    run.main(["--run-path", "--start-method", "fork", *sys.argv[1:]])
