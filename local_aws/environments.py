"""The Python environment of one instance: what AWS's image holds and, before it, what the instance installs itself.

On AWS whatever a container installs ends with it. Here all instances share the environment that stands in for AWS's
image, so each gets an empty virtual environment over that one: its `pip` writes there and sees both, what it installs
is found first, and it goes with the instance's folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_aws.processes.forks import Template

# What jobs and endpoints have in common, and what AWS's toolkits import, of which PyTorch takes a core for two to three
# seconds. The toolkits' own modules read the environment as they are imported.
IMPORTS = (
    "torch", "torch.distributed.run", "numpy", "PIL.Image", "boto3", "boto3.s3.transfer", "paramiko", "psutil",
    "retrying", "scipy.sparse", "asyncio",
)  # fmt: skip
# A start of Python on a busy machine.
ASKING_SECONDS = 60
ASK = """
import json, site, sys
print(json.dumps([sys._base_executable, "python%d.%d" % sys.version_info[:2], sys.prefix != sys.base_prefix,
                  site.getsitepackages()]))
"""
# Where pip finds packages on this machine, as pip's own variables say it (pip's documentation, "Configuration").
INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT",
                   "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_CONFIG_FILE")  # fmt: skip
USER_CONFIGURATION = (".config/pip/pip.conf", ".pip/pip.conf", "Library/Application Support/pip/pip.conf")


@dataclass(frozen=True)
class Shared:
    """What has to be known of the environment that all instances share."""

    base: Path
    """The interpreter behind it."""
    library: str
    virtual: bool
    """Whether it is a virtual environment; the scripts beside a system's Python are not its packages' alone."""
    packages: list[str]


class Environments:
    """Makes instances' environments over the one of a Python.

    Parameters
    ----------
    python
        The Python of the environment that stands in for AWS's images; it is asked when the first one is made.
    """

    def __init__(self, python: Path) -> None:
        self.python = python
        self.template = Template(str(python), IMPORTS, further=True)
        self._shared: Shared | None = None
        self._lock = threading.Lock()

    def make(self, folder: Path) -> Path:
        """Make an environment in a folder, in a few milliseconds; its Python. Raises OSError."""
        shared = self._ask()
        binaries, packages = folder / "bin", folder / "lib" / shared.library / "site-packages"
        binaries.mkdir(parents=True, exist_ok=True)
        packages.mkdir(parents=True, exist_ok=True)
        (folder / "pyvenv.cfg").write_text(f"home = {shared.base.parent}\ninclude-system-site-packages = false\n")
        # Some systems keep compiled packages there (sysconfig, "platlib"); as the module venv does it.
        _link(folder / "lib64", "lib")
        python = binaries / "python"
        _link(python, str(shared.base))
        for name in ("python3", shared.library):
            _link(binaries / name, "python")
        # Not as plain lines: those add a folder without the .pth files in it.
        lines = (f"import site; site.addsitedir({place!a})\n" for place in shared.packages)
        (packages / "aws_image.pth").write_text("".join(lines))
        if shared.virtual:
            self._copy_scripts(binaries)
        return python

    def path(self, python: Path) -> str:
        """The variable PATH for an instance with such an environment's Python."""
        return os.pathsep.join([str(python.parent), str(self.python.parent), os.environ.get("PATH", os.defpath)])

    def _copy_scripts(self, binaries: Path) -> None:
        """The image's console scripts (pip, torchrun), started with the instance's Python."""
        theirs = re.escape(f"{self.python.parent}{os.sep}python".encode())
        # A path that is too long for a first line is in the second (packaging's distlib).
        head = re.compile(rb"\A#!(?:/bin/sh\n'''exec' \"?)?" + theirs + rb"[\w.]*[^\n]*\n(?:' '''\n)?")
        own = f"#!/bin/sh\n'''exec' \"{binaries / 'python'}\" \"$0\" \"$@\"\n' '''\n".encode()
        for script in self.python.parent.iterdir():
            if script.is_symlink() or not script.is_file():
                continue
            content, found = head.subn(lambda _: own, script.read_bytes())
            if found:
                (binaries / script.name).write_bytes(content)
                (binaries / script.name).chmod(0o755)

    def _ask(self) -> Shared:
        with self._lock:
            if self._shared is None:
                try:
                    said = subprocess.run([str(self.python), "-I", "-c", ASK], capture_output=True, text=True,
                                          timeout=ASKING_SECONDS, check=True).stdout  # fmt: skip
                    base, library, virtual, packages = json.loads(said)
                except (subprocess.SubprocessError, ValueError) as error:
                    raise OSError(f"{self.python} is no Python that jobs can run in: {error}") from error
                self._shared = Shared(Path(base), library, virtual, [each for each in packages if os.path.isdir(each)])
            return self._shared


def pip_variables(
    isolated: bool, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> dict[str, str]:
    """Variables with which an instance's pip reaches a package index as pip on this machine does.

    On AWS a container reaches one by the network, and with network isolation it reaches none.
    """
    if isolated:
        return {"PIP_NO_INDEX": "1"}
    found = {name: environment[name] for name in INDEX_VARIABLES if environment.get(name)}
    proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy")
    if proxy:
        found.setdefault("PIP_PROXY", proxy)
    # An instance has a home of its own.
    for name in USER_CONFIGURATION:
        if ((home or Path.home()) / name).is_file():
            found.setdefault("PIP_CONFIG_FILE", str((home or Path.home()) / name))
    return found


def _link(path: Path, target: str) -> None:
    if not path.is_symlink():
        path.symlink_to(target)
