"""An instance that is forked is as one that is started anew, only sooner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from local_aws.environments import IMPORTS, Environments
from local_aws.instances import Instances
from local_aws.processes import forks
from local_aws.processes.forks import Template
from tests.local_aws.daemon import JOBS_PYTHON, ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="instances are forked on Linux only")

FORKSERVER = "forkserver.py"
LAUNCHER = ROOT / "local_aws/processes/launcher.py"
# The first thing it says is whether it was forked.
SAYS_WHETHER = "import sys; print('torch' in sys.modules, flush=True)\n"
# What is forked just as well where it does not matter what was imported, without the seconds that PyTorch takes.
LIGHT = Template(str(JOBS_PYTHON), ("ctypes", "xmlrpc.client"), further=True)
# All that a script can see of how it was started.
FACTS = """
    import gc, json, locale, os, resource, signal, site, stat, sys, sysconfig, threading
    facts = {
        "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "cwd": os.getcwd(),
        "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.no_user_site, sys.flags.utf8_mode],
        "executable": sys.executable, "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, site.PREFIXES],
        "packages": [site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("scripts")],
        "bytecode": sys.dont_write_bytecode,
        "main": {name: repr(value).split(" object at ")[0] for name, value in sorted(globals().items())
                 if name.startswith("__")},
        "own": sys.modules["__main__"].__dict__ is globals(),
        "environment": {name: value for name, value in os.environ.items() if name != "LOCAL_AWS_ORDERS"},
        "signals": {each.name: str(signal.getsignal(each)) for each in sorted(signal.valid_signals())
                    if isinstance(each, signal.Signals)},
        "blocked": [str(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "umask": os.umask(0o22), "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0), "cores": sorted(os.sched_getaffinity(0)),
        "leads": (os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()),
        "input": sys.stdin.read(), "kinds": [stat.S_IFMT(os.fstat(number).st_mode) for number in range(3)],
        "streams": [(each.encoding, each.errors, each.line_buffering, each.write_through)
                    for each in (sys.stdin, sys.stdout, sys.stderr)],
        "locale": locale.getlocale(), "threads": threading.active_count(), "gc": gc.isenabled(),
        "main thread": threading.current_thread() is threading.main_thread(),
    }
    import torch
    facts["torch"] = [torch.get_num_threads(), torch.get_num_interop_threads(),
                      torch.__config__.parallel_info().split("ATen parallel backend")[0]]
    print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    owner = Instances(tmp_path_factory.mktemp("forks"))
    yield owner
    owner.stop_all(0.1)


@pytest.fixture
def start(instances, tmp_path):
    """Starts a script as an instance; it and the list of its lines."""

    def start(source: str, *arguments: str, python: object = JOBS_PYTHON, forked: bool = True, **options):
        script = tmp_path / "script" / "script.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(textwrap.dedent(source))
        lines: list[str] = []
        command = [str(python), str(script), *arguments]
        options = {"threads": 1, "cwd": tmp_path, **options}
        if forked and "forked_from" not in options:
            options["forked_from"] = Template(
                str(JOBS_PYTHON if environment_of(python) else python), IMPORTS, further=True
            )
        return instances.start("test", command, on_line=lines.append, **options), lines

    return start


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_a_forked_script_cannot_tell_that_it_was(start, tmp_path, own):
    python = Environments(JOBS_PYTHON).make(tmp_path / "environment") if own else JOBS_PYTHON
    variables = {"PYTHONPATH": f"/nowhere:{ROOT}:/nowhere", "PYTHONDONTWRITEBYTECODE": "1", "MINE": "a\udc80"}
    facts = []
    for forked in (True, False):
        instance, lines = start(FACTS, "--one", "two", python=python, forked=forked, environment=variables)
        assert instance.wait(120) == 0, lines
        facts.append(json.loads(lines[-1]))
    assert facts[0] == facts[1]
    # It was, though.
    instance, lines = start(SAYS_WHETHER, python=python)
    assert (instance.wait(60), lines) == (0, ["True"])


def test_a_forked_module_with_a_file_for_its_output_cannot_tell_that_it_was(instances, tmp_path):
    (tmp_path / "birds").mkdir()
    says = "import sys\nprint('xmlrpc.client' in sys.modules)\n"
    facts = textwrap.dedent(FACTS).partition("    import torch".strip())[0] + "print(json.dumps(facts))\n"
    (tmp_path / "birds" / "__main__.py").write_text(says + facts)
    said = []
    for template in (Template(sys.executable, ("ctypes", "xmlrpc.client")), None):
        with (tmp_path / "output").open("wb") as output:
            instance = instances.start(
                "test", [sys.executable, "-m", "birds", "--one"], cwd=tmp_path, environment={"PYTHONNOUSERSITE": "1"},
                output=output.fileno(), forked_from=template, read_at_start={"PYTHONNOUSERSITE": "1"}, threads=1,
            )  # fmt: skip
            assert instance.wait(60) == 0, (tmp_path / "output").read_text()
        said.append((tmp_path / "output").read_text().splitlines())
    assert [each[0] for each in said] == ["True", "False"]
    assert json.loads(said[0][1]) == json.loads(said[1][1])
    # AND one whose folder brings a module in place of what is imported is no fork
    (tmp_path / "xmlrpc").mkdir()
    (tmp_path / "birds" / "__main__.py").write_text(says + "import xmlrpc; print(xmlrpc.__path__)")
    instance, lines = None, []
    instance = instances.start(
        "test", [sys.executable, "-m", "birds"], cwd=tmp_path, on_line=lines.append,
        forked_from=Template(sys.executable, ("ctypes", "xmlrpc.client")),
    )  # fmt: skip
    assert (instance.wait(60), lines[0]) == (0, "False")


def test_a_forked_isolated_script_finds_what_one_of_its_own_would(instances, tmp_path):
    # GIVEN modules beside the script and in PYTHONPATH, one of them in place of what is imported already
    for folder in ("beside", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "xmlrpc.py").write_text("raise ImportError('not this one')")
    script = tmp_path / "beside/script.py"
    script.write_text(
        "import json, sys\n"
        "print('xmlrpc.client' in sys.modules)\n"
        "import xmlrpc.client\n"
        "print(json.dumps([sys.argv, sys.orig_argv, sys.path, xmlrpc.__path__]))\n"
    )
    said: list[list[str]] = []
    for template in (Template(sys.executable, ("ctypes", "xmlrpc.client")), None):
        said.append([])
        instance = instances.start(
            "test", [sys.executable, "-I", str(script), "--one"], cwd=tmp_path, on_line=said[-1].append,
            environment={"PYTHONPATH": str(tmp_path / "path")}, forked_from=template,
        )  # fmt: skip
        assert instance.wait(60) == 0, said
    assert [each[0] for each in said] == ["True", "False"]
    assert said[0][1] == said[1][1]


@pytest.mark.slow
def test_a_script_of_an_environment_with_packages_is_started_anew(start, tmp_path):
    python = Environments(JOBS_PYTHON).make(tmp_path / "environment")
    (package,) = (tmp_path / "environment" / "lib").glob("python*/site-packages")
    (package / "birds.py").write_text("NAMES = ['robin']")
    instance, lines = start(SAYS_WHETHER + "import birds; print(*birds.NAMES)", python=python)
    assert (instance.wait(60), lines) == (0, ["False", "robin"])


@pytest.mark.slow
def test_a_forked_script_has_no_file_of_others(start, wait_for):
    _, lines = start("import os, time; print(len(os.listdir('/proc/self/fd')), flush=True); time.sleep(600)")
    wait_for(lambda: lines)
    _, more = start("import os; print(len(os.listdir('/proc/self/fd')), flush=True)")
    wait_for(lambda: more)
    # Input, output, error, where it may order what is forked for it, and the folder that it lists.
    assert (lines, more) == (["5"], ["5"])


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_compute_as_the_instance_has_cores(start, threads):
    if threads > (os.cpu_count() or 1):
        pytest.skip("this machine has one core")
    source = """
        import os, time, torch
        def ticks():
            found = {each: open(f"/proc/self/task/{each}/stat").read().rsplit(")", 1)[1].split()
                     for each in os.listdir("/proc/self/task")}
            return {each: int(words[11]) + int(words[12]) for each, words in found.items()}
        matrix, before, began = torch.rand(1000, 1000), ticks(), time.process_time()
        while time.process_time() - began < 0.8:
            matrix @ matrix
        spent = [now - before.get(each, 0) for each, now in ticks().items()]
        print(sum(each > sum(spent) / 10 for each in spent))
    """
    for forked in (True, False):
        instance, lines = start(source, threads=threads, forked=forked)
        assert (instance.wait(120), lines) == (0, [str(threads)])


@pytest.mark.slow
def test_no_two_have_the_same_random_numbers(start):
    source = """
        import random, secrets, tempfile, uuid
        import numpy, torch
        print(random.random(), numpy.random.rand(), torch.rand(1).item(), torch.initial_seed(),
              uuid.uuid4(), secrets.token_hex(), tempfile.mktemp())
    """
    said = set()
    for _ in range(2):
        instance, lines = start(source)
        assert instance.wait(60) == 0
        said |= set(lines[-1].split())
    assert len(said) == 14


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import os; os._exit(4)", 4),
        ("raise SystemExit('no birds')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
        ("import os; os.abort()", 128 + signal.SIGABRT),
        ("import atexit; atexit.register(print, 'at the end'); print('first')", 0),
        ("def f():\n  raise ValueError('no birds')\n\nf()", 1),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(.2), print('late'))).start()", 0),
        ("import os; unflushed = os.fdopen(os.dup(1), 'w'); unflushed.write('all of it')", 0),
        ("class Bird:\n  def __del__(self):\n    print('away')\n\nbird = Bird(); bird.itself = bird", 0),
        ("import atexit\nclass Bird:\n  def __del__(self):\n    print('away', name)\n\nname = 'jay'; _b = Bird()\n"
         "atexit.register(print, 'at the end')", 0),
        ("import wave, sys\nclass Bird:\n  def __del__(self):\n    print('away')\n\nwave.bird = Bird()", 0),
        ("import sys; sys.stdout.close()", 0),
        ("raise SystemExit(True)", 1),
        ("this is no Python", 1),
        ("import os, sys\nif os.fork() == 0:\n  sys.exit(5)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))", 0),
        ("import multiprocessing as m\ndef f(x):\n  return x + 1\n"
         "if __name__ == '__main__':\n  print(m.get_context('spawn').Pool(1).map(f, [1]))", 0),
    ],
)  # fmt: skip
def test_it_ends_and_says_what_a_process_of_its_own_would(start, source, status):
    (forked, lines), (anew, same) = start(source, forked_from=LIGHT), start(source, forked=False)
    assert (forked.wait(60), lines) == (status, same) if anew.wait(60) == status else (None, same)


@pytest.mark.slow
def test_modules_and_variables_that_count_from_the_start_on_do(start, tmp_path):
    # GIVEN a script with a module that a fork has imported from elsewhere
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "six.py").write_text("mine = True")
    instance, lines = start(SAYS_WHETHER + "import six; print(six.mine)")
    assert (instance.wait(60), lines) == (0, ["False", "True"])
    (tmp_path / "script" / "six.py").unlink()
    # AND one whose environment has such a module, or variables that only the start of a process reads
    (tmp_path / "packages" / "numpy").mkdir(parents=True)
    for variables in ({"PYTHONPATH": f"{tmp_path}/packages"}, {"PYTHONHASHSEED": "1"}, {"OMP_NUM_THREADS": "3"}):
        instance, lines = start(SAYS_WHETHER, environment=variables)
        assert (instance.wait(60), lines) == (0, ["False"]), variables
    instance, lines = start("print(hash('a bird'))", environment={"PYTHONHASHSEED": "1"})
    instance.wait(60)
    assert lines == [subprocess.check_output([JOBS_PYTHON, "-c", "print(hash('a bird'))"], text=True,
                                             env=os.environ | {"PYTHONHASHSEED": "1"}).strip()]  # fmt: skip


def test_where_nothing_can_be_forked_instances_are_started_anew(start, tmp_path, caplog):
    # GIVEN a Python that cannot import PyTorch
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$1" in *{FORKSERVER}) echo no torch >&2; exit 1;; esac\nexec {JOBS_PYTHON} "$@"'
    )
    python.chmod(0o755)
    for _ in range(2):
        instance, lines = start(SAYS_WHETHER, python=python)
        assert (instance.wait(60), lines) == (0, ["False"])
    assert caplog.text.count("started anew and not forked: no torch") == 1
    # AND a command that is none
    instance, lines = start("", python="/does/not/exist")
    assert instance.wait(60) == 127
    assert "No such file" in lines[0]


@pytest.mark.slow
def test_the_end_of_a_fork_server_ends_no_instance_and_the_next_has_another(start, wait_for):
    # GIVEN an instance that is being asked what it does
    source = "import time; print('up', flush=True); time.sleep(2); print('done')"
    instance, lines = start(source, forked_from=LIGHT)
    wait_for(lambda: lines)
    server = psutil.Process(instance.supervisor_pid).parent()
    # WHEN what it was forked from is killed
    server.kill()
    wait_for(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    # THEN it goes on, and the next one is forked too
    instance_after, lines_after = start(SAYS_WHETHER.replace("torch", "xmlrpc.client"), forked_from=LIGHT)
    assert (instance.wait(60), lines) == (0, ["up", "done"])
    assert (instance_after.wait(120), lines_after) == (0, ["True"])


def test_a_stop_reaches_every_process_of_a_forked_instance(start, wait_for):
    source = """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(600)
    """
    instance, lines = start(source, forked_from=LIGHT)
    wait_for(lambda: lines)
    assert instance.stop(60) == 128 + signal.SIGTERM
    wait_for(lambda: not psutil.pid_exists(int(lines[0])))
    stubborn, lines = start("import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
                            "while True: time.sleep(1)", forked_from=LIGHT)  # fmt: skip
    wait_for(lambda: lines)
    assert stubborn.stop(0.3) == 128 + signal.SIGKILL


def test_what_starts_after_a_stop_is_told_too(start, wait_for):
    # GIVEN a program that leaves SIGTERM to what it starts, but has not started it when the signal comes
    source = f"""
        import os, signal, subprocess, sys, time
        told = []
        signal.signal(signal.SIGTERM, lambda *_: told.append(True))
        print("up", flush=True)
        while not told:
            time.sleep(0.01)
        orders = int(os.environ["LOCAL_AWS_ORDERS"])
        launcher = [sys.executable, "-I", "-S", {str(LAUNCHER)!r}, str(orders), sys.executable, __file__]
        print(subprocess.run(launcher, pass_fds=[orders]).returncode)
    """
    instance, lines = start(source, forked_from=LIGHT)
    wait_for(lambda: lines)
    instance.terminate()
    assert (instance.wait(60), lines) == (0, ["up", f"-{signal.SIGTERM:d}"])


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # gone between the two
        return False


def test_one_that_has_ended_before_its_number_is_read_has_its_status(monkeypatch, tmp_path):
    def give(orders, what, files):
        os.write(files[3], b"4711\n3\n")

    monkeypatch.setattr(forks.order, "give", give)
    server = forks.ForkServer.__new__(forks.ForkServer)
    server._orders, server._further = None, False
    forked = server.fork(["python"], {}, tmp_path, 0, ())
    assert (forked.pid, forked.wait()) == (4711, 3)


@pytest.mark.slow
def test_nothing_forked_survives_a_sigkill_of_the_owner(tmp_path, wait_for):
    script = tmp_path / "script.py"
    script.write_text("import time; print('up', flush=True); time.sleep(600)")
    owner = f"""
import pathlib, sys, time
sys.path.insert(0, {str(ROOT)!r})
from local_aws.instances import Instances
from local_aws.processes.forks import Template
Instances(pathlib.Path({str(tmp_path)!r})).start(
    "test", [{str(JOBS_PYTHON)!r}, {str(script)!r}], on_line=lambda line: print(line, flush=True),
    forked_from={LIGHT!r},
)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    family = psutil.Process(process.pid).children(recursive=True)
    # The fork server, the supervisor, the script.
    assert len(family) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    wait_for(lambda: not any(map(is_alive, family)))


@pytest.mark.slow
def test_the_owner_ends_its_fork_server(tmp_path):
    owner = Instances(tmp_path)
    script = Path(tmp_path / "script.py")
    script.write_text("")
    before = servers_of(os.getpid())
    assert owner.start("test", [str(JOBS_PYTHON), str(script)], forked_from=LIGHT).wait(120) == 0
    (server,) = set(servers_of(os.getpid())) - set(before)
    owner.stop_all()
    assert not server.is_running()


def environment_of(python: object) -> bool:
    """Whether a Python is of an environment over the shared one."""
    return "environment" in Path(str(python)).parts


def servers_of(pid: int) -> list[psutil.Process]:
    """The live fork servers that a process has started."""
    return [
        each
        for each in psutil.Process(pid).children()
        if each.status() != psutil.STATUS_ZOMBIE and FORKSERVER in " ".join(each.cmdline())
    ]
