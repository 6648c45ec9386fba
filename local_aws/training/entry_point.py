"""What a training instance runs: AWS's training toolkit, with a few differences from its start in AWS's container.

- A rendezvous port of the job's own: in a container every job has port 7777 to itself, here jobs share a machine.
- SIGTERM is left to the script. A stop signals every process of the instance; the toolkit would die of it at once, and
  the instance with it, before the script could save anything. In AWS's image a shell stands between the two.
- The toolkit imports torch only to name its version, which the package's metadata know: two seconds of start-up.
- torchrun forks its worker, which saves importing torch a second time; see torchrun.py.
- The script's output is read in whole lines: the toolkit takes what has come so far for lines, so that an exception or
  a metric that was written in two pieces became two lines, and was neither.
- The script is forked where this process was, which saves importing torch; see processes/launcher.py.
- A failure counts even where the disk is too full to write it down: the toolkit would end with exit status 0.

Runs in the jobs' environment and imports nothing of the local AWS.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import sagemaker_pytorch_container.training
import sagemaker_training.torch_distributed
from sagemaker_training import files, process
from sagemaker_training.cli.train import main
from sagemaker_training.torch_distributed import TorchDistributedRunner

ORDERS = os.environ.pop("LOCAL_AWS_ORDERS", "")
LAUNCHER = Path(__file__).parents[1] / "processes" / "launcher.py"


def name_torch_version() -> None:
    os.environ["SM_DLC_TORCH_VERSION"] = importlib.metadata.version("torch")


def create_command(self) -> list[str]:
    _, *arguments = create_torchrun_command(self)
    return [sys.executable, str(Path(__file__).with_name("torchrun.py")), *arguments]


async def run_script(command: list[str], *arguments: Any, **options: Any) -> Any:
    """Run a command as the toolkit does, a Python script by way of the supervisor that this process is forked from."""
    if command[0] == sys.executable and (command[1] == "--" or command[1].endswith(".py")):
        command = [sys.executable, "-I", "-S", str(LAUNCHER), ORDERS, *command]
        options["pass_fds"] = [int(ORDERS)]
    return await run_command(command, *arguments, **options)


def write_failure(message: str) -> None:
    # The toolkit prints the message afterwards, so that nothing is lost.
    with contextlib.suppress(OSError):
        write_failure_file(message)


class WholeLines:
    """An output stream of a script whose `read` ends at a line's end, unless the stream does or a line is very long."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.stream = stream

    async def read(self, size: int) -> bytes:
        text = await self.stream.read(size)
        while text and not text.endswith(b"\n") and len(text) < size:
            more = await self.stream.read(size - len(text))
            if not more:
                break
            text += more
        return text


def watch(stream: asyncio.StreamReader | None, *arguments: Any, **options: Any) -> Coroutine[Any, Any, str]:
    return watch_output(WholeLines(stream) if stream else None, *arguments, **options)


run_command = process.run_async
watch_output = process.watch
write_failure_file = files.write_failure_file
create_torchrun_command = TorchDistributedRunner._create_command

if __name__ == "__main__":
    # A handler and not SIG_IGN, which the script would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)
    port = os.environ["LOCAL_AWS_MASTER_PORT"]
    sagemaker_training.torch_distributed.MASTER_PORT = port
    sagemaker_pytorch_container.training.MASTER_PORT = port
    sagemaker_pytorch_container.training._set_torch_version_environment = name_torch_version
    TorchDistributedRunner._create_command = create_command
    files.write_failure_file = write_failure
    process.watch = watch
    if ORDERS:
        process.run_async = run_script
    main()
