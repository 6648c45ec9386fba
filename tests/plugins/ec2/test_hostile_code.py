"""The code that goes to an instance is unpacked into its folder and nowhere else."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from musher.ec2 import host_job
from musher.ec2.ssh import CommandFailed

from tests import hostile


class ThisMachine:
    """A host whose commands run here, in a folder of their own; `started` what was left out: the training."""

    def __init__(self, home):
        self.home, self.started = home, False

    def run(self, command, stdin=b"", seconds=0):
        if "run_on_ec2.py" in command:
            self.started = True
            return b""
        done = subprocess.run(command, shell=True, cwd=self.home, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr.decode())
        return done.stdout


@pytest.mark.parametrize("way", hostile.WAYS)
def test_what_an_archive_tries_is_not_done_on_the_host(tmp_path, way):
    archive = hostile.archive(way, tmp_path)
    code = archive.read_bytes()
    (tmp_path / "target/musher").mkdir()
    with contextlib.suppress(CommandFailed):
        host_job.start(ThisMachine(tmp_path / "target"), code, {})
    # tar leaves a link that it was told to make, last of all, when nothing is written through it any more.
    assert [each for each in hostile.got_out(tmp_path) if not each.startswith("made the ")] == []
