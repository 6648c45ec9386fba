"""A local AWS that tests fork is as one that is started anew, only sooner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.local_aws.daemon import ROOT, make_role
from tests.local_aws.forked import fork
from tests.local_aws.serving import Serving

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="local AWSs are forked on Linux only")


@pytest.mark.parametrize("anew", [True, False], ids=["anew", "forked"])
def test_it_is_the_process_that_a_start_makes(new_local_aws, anew):
    daemon = new_local_aws(anew=anew)
    process = psutil.Process(daemon.pid)
    started = [sys.executable, "-m", "local_aws", "--port", str(daemon.port)]
    assert " ".join(process.cmdline()).split()[1:5] == started[1:]
    assert process.cwd() == str(ROOT)
    assert os.getpgid(daemon.pid) == os.getpgid(0)
    assert os.getsid(daemon.pid) == os.getsid(0)
    files = {number: os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in range(3)}
    assert files == {0: os.readlink("/proc/self/fd/0"), 1: str(daemon.log), 2: str(daemon.log)}
    assert daemon.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_it_ends_as_it_is_told(new_local_aws, number, status):
    daemon = new_local_aws(anew=False)
    assert daemon.stop(number) == status
    assert daemon.process.poll() == daemon.process.wait() == daemon.process.returncode == status
    assert not psutil.pid_exists(daemon.pid)
    daemon.process.send_signal(signal.SIGTERM)  # no error, as with a Popen


@pytest.mark.slow
def test_what_it_says_at_a_failing_start_is_in_its_log(tmp_path):
    log = tmp_path / "log"
    assert fork(["--minute", "2m"], log).wait(60) == 2
    assert "argument --minute: an AWS minute must last between 0.5s and 60s, not 2m" in log.read_text()
    (tmp_path / "file").write_text("")
    assert fork(["--port", "0", "--state", str(tmp_path / "file")], log).wait(60) == 1
    assert log.read_text() == f"local_aws: the state folder {tmp_path / 'file'} cannot be used: File exists\n"


def test_two_forked_from_one_process_make_other_identifiers(new_local_aws):
    made = [new_local_aws(anew=False).client("ec2") for _ in range(2)]
    groups = [each.create_security_group(GroupName="g", Description="g")["GroupId"] for each in made]
    assert groups[0] != groups[1]


def test_they_share_fork_servers_that_outlive_each_of_them(new_local_aws):
    def servers_of(process):
        return {each for each in process.children() if "forkserver.py" in " ".join(each.cmdline())}

    # WHEN one daemon after the other serves an endpoint, and is killed
    found = []
    for _ in range(2):
        daemon = new_local_aws(anew=False)
        forking = psutil.Process(daemon.pid).parent()
        assert "tests.local_aws.forked" in forking.cmdline()
        daemon.client("s3").create_bucket(Bucket="shared")
        serving = Serving(daemon, "shared", make_role(daemon))
        endpoint = serving.create(serving.config(serving.model()))
        assert serving.wait(endpoint)["EndpointStatus"] == "InService"
        assert serving.call(endpoint, {"a": 1})["echo"] == {"a": 1}
        assert not servers_of(psutil.Process(daemon.pid))
        # Those of other tests' processes may fork at the same time.
        instances = [each for server in servers_of(forking) for each in children_in(daemon.state, server)]
        found.append({each.ppid() for each in instances})
        daemon.stop(signal.SIGKILL)
    # THEN the same one of the process that forks has forked the instances of both
    assert len(found[0]) == 1
    assert found[0] == found[1]


def children_in(folder, process):
    found = []
    for each in process.children():
        with contextlib.suppress(psutil.Error):
            if each.cwd().startswith(str(folder)):
                found.append(each)
    return found


@pytest.mark.slow
def test_the_processes_of_one_pytest_share_the_one_that_forks(tmp_path):
    # GIVEN two processes of tests of one run, of which each forks a local AWS
    program = (
        "import sys, psutil, pathlib; from tests.local_aws.daemon import start_daemon;"
        "daemon = start_daemon(pathlib.Path(sys.argv[1]));"
        "print(daemon.pid, psutil.Process(daemon.pid).ppid(), flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTEST_XDIST_TESTRUNUID": f"two-of-{os.getpid()}"}
    two = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / name], cwd=ROOT, env=environment, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in ("one", "other")
    ]  # fmt: skip
    (one, forking), (other, same) = [map(int, each.stdout.readline().split()) for each in two]
    assert forking == same
    first, second, parent = (psutil.Process(pid) for pid in (one, other, forking))
    # WHEN one of them ends THEN its local AWS does, and no other
    end(two[0])
    assert psutil.wait_procs([first], timeout=60)[1] == []
    assert second.is_running()
    # AND with the last one the process that forks
    end(two[1])
    assert psutil.wait_procs([second, parent], timeout=60)[1] == []


def end(process):
    """Its output may be open still: what it has started has it, too."""
    process.stdin.close()
    process.wait(60)
    process.stdout.close()
