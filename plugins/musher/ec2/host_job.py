"""A detached training on a host: started over SSH once, looked at as often as one likes, from anywhere.

What there is on the host, below `musher/` in the home folder: `code/` (ml_scripts), `job.json`, `status.json` and
`log.txt` of run_on_ec2.py, `pid`, and `log.shown`: how much of the log has been read by somebody, so that whoever goes
on reading does so from there.

The host is not trusted: whoever has taken it over may answer anything, and gets no more by it than a failed task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from musher.ec2 import host_status
from musher.ec2.host_log import printable
from musher.ec2.host_status import FINISHED, HostStatus
from musher.ec2.ssh import CommandFailed, Host

# The Deep Learning AMI keeps PyTorch in an environment of its own; elsewhere python3 has to have it.
# Source: AWS Deep Learning AMIs developer guide, "PyTorch DLAMI".
_PYTHON = "$(command -v /opt/pytorch/bin/python3 || command -v python3)"
CHUNK = 131_072  # bytes of the log at one look
LAST_WORDS = 8_000  # bytes of the log in a failed task's message

_START = f"""
cd musher || exit 1
mkdir started 2>/dev/null || exit 0
setsid nohup sh -c 'echo $$ > pid; exec "$0" -u code/run_on_ec2.py job.json' "{_PYTHON}" > log.txt 2>&1 < /dev/null &
"""

_LOOK = """
cd musher 2>/dev/null || exit 0
[ -n "{shown}" ] && echo "{shown}" > log.shown
if pid=$(cat pid 2>/dev/null) && ! kill -0 "$pid" 2>/dev/null; then echo gone; else echo alive; fi
(head -c {largest} status.json 2>/dev/null || printf '{{}}') | tr -d '\\n'; echo
shown=$(cat log.shown 2>/dev/null) || shown=0
echo "${{shown:-0}}"
tail -c "+$((${{shown:-0}} + 1))" log.txt 2>/dev/null | head -c {chunk}
"""


@dataclass
class Look:
    """What was to be seen on the host: run_on_ec2.py's status, whether it lives, and new lines of its log."""

    status: HostStatus
    alive: bool = True
    lines: list[str] = field(default_factory=list)
    shown: int = 0
    """Bytes of the log that have been read when these lines are."""

    @property
    def state(self) -> str:
        return self.status.state


def start(host: Host, code: bytes, job: Mapping[str, Any]) -> None:
    """Copy the code and start the training, unless that has been done. Raises what `Host.run` raises.

    Parameters: `code` the sourcedir.tar.gz of ml_scripts; `job` what run_on_ec2.py is told.
    """
    host.run("mkdir -p musher/code && tar -xzf - -C musher/code", stdin=code)
    host.run("cat > musher/job.json.new && mv musher/job.json.new musher/job.json", stdin=json.dumps(job).encode())
    host.run(_START)


def look(host: Host, shown: int | None = None) -> Look:
    """See how the training is doing. Raises what `Host.run` raises, CommandFailed for an answer of another size too.

    Parameters: `shown` as the `Look` before had it: those bytes of the log are read and will not come again.
    """
    script = _LOOK.format(shown="" if shown is None else shown, chunk=CHUNK, largest=host_status.LARGEST)
    output = host.run(script)
    parts = output.split(b"\n", 3)
    if len(parts) < 4:
        return Look(HostStatus())
    # Whether it lives comes first: what has ended by then has written its last status.
    alive, written, offset, text = parts
    if len(text) > CHUNK:
        raise CommandFailed(f"the host showed {len(text)} bytes of its log, more than it was asked for ({CHUNK})")
    status = host_status.read(written)
    whole = text.rfind(b"\n") + 1
    if status.state not in FINISHED or len(text) == CHUNK:
        # The last line may still be growing; one that is longer than a look is not waited for.
        text = text[: whole or (len(text) if len(text) == CHUNK else 0)]
    lines = [printable(line) for line in text.removesuffix(b"\n").split(b"\n")] if text else []
    return Look(status, alive == b"alive", lines, _offset(offset) + len(text))


def _offset(written: bytes) -> int:
    """How much of the log the host says has been shown; from its beginning where that is no number."""
    return int(written) if written.isdigit() and len(written) < 16 else 0


def last_lines(host: Host, count: int = 15) -> str:
    """The end of the training's log. Raises what `Host.run` raises."""
    end = host.run(f"tail -n {count} musher/log.txt | tail -c {LAST_WORDS}")[-LAST_WORDS:]
    return "\n".join(printable(line) for line in end.strip().split(b"\n"))[-LAST_WORDS:]
