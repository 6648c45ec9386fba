"""Forks instances from a process that has imported what they import: PyTorch takes a core for two to three seconds.

    python forkserver.py ORDERS MODULE...

ORDERS is the descriptor of a socket to the daemon, see order.py; a MODULE is one to import, see forks.Template. What is
forked is an instance's supervisor, and from that what the instance runs: the order's command and, for whoever holds the
descriptor that LOCAL_AWS_ORDERS names, further ones (see launcher.py). A forked process is as `python SCRIPT ...`,
`python -I SCRIPT ...` or `python -m NAME ...` would be, but for the seed of its strings' hashes, for sys.flags of an
isolated one and for modules that are imported already. What has to differ from the start on, or brings a module of its
own in place of an imported one, is executed instead, which is as good and slower.

Runs in the environment of what it forks, with one thread and nothing computed: neither threads nor pools of them
survive a fork.
"""

import atexit
import contextlib
import gc
import importlib.machinery
import importlib.util
import os
import signal
import site
import socket
import sys
import threading
import types

import mounts
import order
import supervisor

del sys.path[0]  # this folder
# Variables that are read when a process starts or as one of these is imported, by the loader, the C library, Python,
# the libraries that compute. The threads' are the same in every process of a fork server.
READ_AT_START = (
    "LD_", "MALLOC_", "GLIBC_", "LANG", "LC_", "TZ", "PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_",
    "ONEDNN_", "ATEN_", "TORCH", "PYTORCH_", "CUDA_", "NPY_", "NUMPY_", "NUMEXPR_",
)  # fmt: skip
OURS = ("mounts", "order", "supervisor")
SET_LATER = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}


def main():
    """Serve until the daemon is gone. Returns in every process that is to run something, with the order."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()  # all of it stays
    for name in sys.argv[2:]:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    # Pages that a collection would write to, and so copy, in every process.
    gc.collect()
    gc.freeze()
    gc.enable()
    # Nobody waits for supervisors: each writes how it ended itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    orders.send(b"ready")
    while work := order.take(orders):
        if os.fork() == 0:
            orders.close()
            return watch_over(work)
        work.close()
    os._exit(0)


def watch_over(first):
    """Be an instance's supervisor. Returns in each of the instance's processes, with the order to run."""
    os.setsid()
    os.chdir(first.what["cwd"])
    connect(first)
    status = first.files[3]
    if first.what["cores"]:
        os.sched_setaffinity(0, first.what["cores"])
    os.write(status, b"%d\n" % os.getpid())
    ours = theirs = None
    if first.what["further"]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    work, code = supervisor.supervise(first.what["niceness"], first, ours, order.take)
    if work is None:
        os.write(status, b"%d\n" % code)
        os._exit(0)
    os.close(status)
    if ours is None:
        return work
    ours.close()
    if work is first:
        first.what["environment"]["LOCAL_AWS_ORDERS"] = str(theirs.detach())
    else:
        theirs.close()
        connect(work)
        os.close(work.files[3])
    return work


def connect(work):
    """Take over an order's standard input, output and error."""
    for number, file in enumerate(work.files[:3]):
        os.dup2(file, number)
        os.close(file)


def run(command, environment, cwd):
    """Run a command in this process. Raises SystemExit where it does; as in any process, that is not its end yet."""
    os.chdir(cwd)
    module = command[2] if command[1:2] == ["-m"] else None
    isolated = command[1:2] == ["-I"]
    arguments = command[2:] if command[1:2] in (["--"], ["-m"], ["-I"]) else command[1:]
    places = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each and not isolated]
    prefix = prefix_of(os.path.abspath(command[0]))
    folder = cwd if module else os.path.dirname(os.path.realpath(arguments[0])) if arguments else None
    if (
        not (prefix and arguments and (module or os.path.isfile(arguments[0])))
        or differs(environment)
        or shadowed(places if isolated else [folder, *places])
    ):
        os.execvpe(command[0], command, environment)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.orig_argv, sys.argv = command, arguments
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    # The order and the absence of double entries are those of the module `site`.
    sys.path[:] = [*([] if isolated else [folder]), *dict.fromkeys([*map(os.path.abspath, places), *sys.path])]
    if prefix != sys.prefix:
        move(os.path.abspath(command[0]), prefix)
    importlib.invalidate_caches()
    reseed()
    for name in OURS:
        del sys.modules[name]
    main = types.ModuleType("__main__")
    vars(main).update(__builtins__=__builtins__, __annotations__={})
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:
        sys.modules["__mp_main__"] = main
    try:
        code = load_module(module, main) if module else load_script(os.path.abspath(arguments[0]), main)
        exec(code, vars(main))
    except Exception as error:
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        sys.excepthook(type(error), error.with_traceback(frames), frames)
        sys.exit(1)


def end(status, imported):
    """End as a process does whose script has ended, with all that came after the modules `imported`.

    These stay as they are: for Python to take PyTorch apart, with each page copied for it, costs a third of a second.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    later = [each for name, each in reversed(sys.modules.items()) if name not in imported and name != "__main__"]
    for module in [sys.modules["__main__"], *later]:
        forget(vars(module))
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none
            stream.flush()
    if "ctypes" in sys.modules:
        sys.modules["ctypes"].CDLL(None).fflush(None)
    os._exit(status)


def forget(names):
    """What Python does with a module's names at the end, so that their objects end, in the same order."""
    for hidden in (True, False):
        for name in names:
            if name.startswith("_") == hidden and name != "__builtins__":
                names[name] = None


def status_of(ended):
    """The status of a process that a SystemExit ends, said as Python does where it is no number."""
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    print(ended.code, file=sys.stderr)
    return 1


def load_script(script, main):
    loader = importlib.machinery.SourceFileLoader("__main__", script)
    vars(main).update(__file__=script, __cached__=None, __loader__=loader)
    with open(script, "rb") as file:
        return compile(file.read(), script, "exec", dont_inherit=True)


def load_module(name, main):
    """What `python -m NAME` runs, as the standard library's runpy finds it."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    if spec is None:
        sys.exit(f"{sys.executable}: No module named {name}")
    vars(main).update(__file__=spec.origin, __cached__=spec.cached, __loader__=spec.loader, __package__=spec.parent,
                      __spec__=spec)  # fmt: skip
    sys.argv[0] = spec.origin
    return spec.loader.get_code(spec.name)


def reseed():
    """Give generators that were seeded by an import other seeds; Python's own takes one after a fork."""
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def packages_of(prefix):
    return os.path.join(prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")


def prefix_of(python):
    """The environment of a Python: this one, or one over it with nothing in it (see environments.py); else None."""
    prefix = os.path.dirname(os.path.dirname(python))
    if python == sys.executable:
        return sys.prefix
    try:
        (file,) = os.listdir(packages_of(prefix))
        with open(os.path.join(packages_of(prefix), file)) as over:
            lines = over.read()
    except (OSError, ValueError):
        return None
    return prefix if file == "aws_image.pth" and all(ascii(each) in lines for each in site.getsitepackages()) else None


def move(python, prefix):
    """Be a process of an environment over this one."""
    if packages_of(prefix) not in sys.path:
        sys.path.insert(sys.path.index(site.getsitepackages()[0]), packages_of(prefix))
    sys.executable, sys.prefix, sys.exec_prefix, site.PREFIXES = python, prefix, prefix, [prefix]
    # It keeps what it has found out.
    sys.modules.pop("sysconfig", None)


def differs(environment):
    """Whether a process with these variables is another from its start on."""
    names = {name for name in environment.keys() | os.environ.keys() if name.startswith(READ_AT_START)} - SET_LATER
    return any(effect(name, environment) != effect(name, os.environ) for name in names)


def effect(name, environment):
    """What a variable says: of the loader's search path, the folders that are there."""
    value = environment.get(name)
    return [each for each in (value or "").split(":") if os.path.isdir(each)] if name == "LD_LIBRARY_PATH" else value


def shadowed(places):
    """Whether folders before the environment's own bring modules that are imported already."""
    loaded = {name.partition(".")[0] for name in sys.modules} - {
        "__main__",
        "__mp_main__",
        "mounts",
        "order",
        "supervisor",
    }
    for folder in filter(os.path.isdir, set(map(os.path.abspath, places)) - set(sys.path)):
        if any(name.partition(".")[0] in loaded for name in os.listdir(folder)):
            return True
    return False


if __name__ == "__main__":
    to_do = main().what
    if to_do.get("opt"):
        mounts.enter(*to_do["opt"])
    before = set(sys.modules)
    try:
        run(to_do["command"], to_do["environment"], to_do["cwd"])
        code = 0
    except SystemExit as ended:
        code = status_of(ended)
    end(code, before)
