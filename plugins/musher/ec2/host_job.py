"""A detached training on a host: started over SSH once, looked at as often as one likes, from anywhere.

What there is on the host, below `musher/` in the home folder: `code/` (ml_scripts), `job.json`, `status.json` and
`log.txt` of run_on_ec2.py, `pid`, and `log.shown`: how much of the log has been read by somebody, so that whoever goes
on reading does so from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from musher.ec2.ssh import Host

# The Deep Learning AMI keeps PyTorch in an environment of its own; elsewhere python3 has to have it.
# Source: AWS Deep Learning AMIs developer guide, "PyTorch DLAMI".
_PYTHON = "$(command -v /opt/pytorch/bin/python3 || command -v python3)"
_CHUNK = 131_072

_START = f"""
cd musher || exit 1
mkdir started 2>/dev/null || exit 0
setsid nohup sh -c 'echo $$ > pid; exec "$0" -u code/run_on_ec2.py job.json' "{_PYTHON}" > log.txt 2>&1 < /dev/null &
"""

_LOOK = """
cd musher 2>/dev/null || exit 0
[ -n "{shown}" ] && echo "{shown}" > log.shown
if pid=$(cat pid 2>/dev/null) && ! kill -0 "$pid" 2>/dev/null; then echo gone; else echo alive; fi
cat status.json 2>/dev/null || printf '{{}}'; echo
shown=$(cat log.shown 2>/dev/null) || shown=0
echo "${{shown:-0}}"
tail -c "+$((${{shown:-0}} + 1))" log.txt 2>/dev/null | head -c {chunk}
"""

FINISHED = ("completed", "failed", "interrupted", "stopped")


@dataclass
class Look:
    """What was to be seen on the host: run_on_ec2.py's state and facts, whether it lives, and new lines of its log."""

    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    alive: bool = True
    lines: list[str] = field(default_factory=list)
    shown: int = 0
    """Bytes of the log that have been read when these lines are."""


def start(host: Host, code: bytes, job: Mapping[str, Any]) -> None:
    """Copy the code and start the training, unless that has been done. Raises what `Host.run` raises.

    Parameters: `code` the sourcedir.tar.gz of ml_scripts; `job` what run_on_ec2.py is told.
    """
    host.run("mkdir -p musher/code && tar -xzf - -C musher/code", stdin=code)
    host.run("cat > musher/job.json.new && mv musher/job.json.new musher/job.json", stdin=json.dumps(job).encode())
    host.run(_START)


def look(host: Host, shown: int | None = None) -> Look:
    """See how the training is doing. Raises what `Host.run` raises.

    Parameters: `shown` as the `Look` before had it: those bytes of the log are read and will not come again.
    """
    output = host.run(_LOOK.format(shown="" if shown is None else shown, chunk=_CHUNK))
    parts = output.split(b"\n", 3)
    if len(parts) < 4:
        return Look("not started")
    # Whether it lives comes first: what has ended by then has written its last status.
    alive, status, offset, text = parts
    facts = json.loads(status)
    state = facts.get("state", "starting")
    if state not in FINISHED or len(text) == _CHUNK:
        text = text[: text.rfind(b"\n") + 1]  # the last line may still be growing
    lines = text.decode(errors="replace").splitlines()
    return Look(state, facts, alive == b"alive", lines, int(offset) + len(text))


def last_lines(host: Host, count: int = 15) -> str:
    """The end of the training's log. Raises what `Host.run` raises."""
    return host.run(f"tail -n {count} musher/log.txt").decode(errors="replace").strip()
