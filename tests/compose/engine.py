"""A private Docker engine for a Debian machine that has none: Debian's own packages, unpacked and not installed.

Needs root and apt. Nothing of it listens on the network, and no service of the machine is touched: installing
`docker.io` would start one. What the engine changes in the kernel (the bridge `docker0`, iptables' rules, forwarding)
is put back when it stops. Its images stay in the folder, so that the next one has them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("docker.io", "containerd", "runc", "tini")
# What those are linked to, and what makes the stand-ins' Debian.
INSTALLED = ("iproute2", "iptables", "libdevmapper1.02.1", "libseccomp2", "mmdebstrap")
# Debian 12 has neither Compose v2 nor buildx; Debian 13's are static programs.
PLUGINS, PLUGINS_RELEASE = ("docker-compose", "docker-buildx"), "trixie"
START_SECONDS = 60
STOP_SECONDS = 120
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
TABLES = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}


class EngineError(Exception):
    """Why there is no engine, as a sentence for a person."""


def why_not() -> str:
    """Why no private engine can be had on this machine; empty when one can."""
    if os.geteuid() != 0:
        return "only root can start one here"
    if not shutil.which("apt-get") or not Path("/etc/debian_version").exists():
        return "one is started from Debian's packages, and this is no Debian"
    return ""


def run(command: list[str], **options: object) -> str:
    """The command's output. Raises EngineError with the end of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise EngineError(f"`{' '.join(command[:6])}` ended with status {done.returncode}:\n{said}")
    return str(done.stdout)


class Engine:
    """The engine whose programs and images are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.log = folder / "dockerd.log"
        self._facts = folder / "engine.json"
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """What a docker client needs to find this engine and its plugins."""
        path = os.pathsep.join([str(self.programs / "usr/bin"), str(self.programs / "usr/sbin"),
                                os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # fmt: skip
        return {
            "DOCKER_HOST": f"unix://{self._run_folder}/docker.sock",
            "DOCKER_CONFIG": str(self.folder / "client"),
            "DOCKER_BUILDKIT": "1",
            "PATH": path,
        }

    def start(self, say: Callable[[str], None]) -> None:
        """Bring it up, with its packages when they are not there yet. Raises EngineError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._unpack(say)
        # A socket's path is short by law: not under the checkout. An engine that was killed is taken over: starting on
        # the same folders ends what is left of its containers.
        if not self._facts.exists():
            facts = {"run": tempfile.mkdtemp(prefix="musher-docker-"), "before": kernel_state()}
            self._facts.write_text(json.dumps(facts))
        self._end_former()
        folder = self._run_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        command = ["dockerd", "--host", f"unix://{folder}/docker.sock", "--data-root", str(self.folder / "data"),
                   "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "docker.pid"),
                   "--config-file", str(self.folder / "client/daemon.json"),
                   "--init-path", str(self.programs / "usr/bin/tini-static"), "--mtu", "1400"]  # fmt: skip
        environment = {**os.environ, **self.environment()}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(["docker", "info"], env=environment, capture_output=True).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self.log.read_text(errors="replace").splitlines()[-8:]
                self.stop()
                raise EngineError("The Docker engine does not start:\n" + "\n".join(lines))
            time.sleep(0.2)

    def stop(self) -> None:
        """End it and its containers, and put the kernel's state back. Raises EngineError when something is left."""
        if not self._facts.exists():
            return
        folder = self._run_folder
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self._end_former()
        for mounted in reversed(mounts_below(folder, self.folder / "data")):
            subprocess.run(["umount", mounted], capture_output=True)
        left = mounts_below(folder, self.folder / "data") + processes_naming(str(folder))
        if left:
            raise EngineError(f"The Docker engine has left behind: {', '.join(left)}.")
        restore(json.loads(self._facts.read_text())["before"])
        shutil.rmtree(folder, ignore_errors=True)
        self._facts.unlink()

    @property
    def _run_folder(self) -> Path:
        return Path(json.loads(self._facts.read_text())["run"])

    def _end_former(self) -> None:
        """End an engine on these folders that this process has not started, or that does not end by itself."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self._run_folder / "docker.pid").read_text())
            if str(self._run_folder) not in Path(f"/proc/{pid}/cmdline").read_text():
                return
            os.kill(pid, 15)
            deadline = time.monotonic() + STOP_SECONDS
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.2)

    def _unpack(self, say: Callable[[str], None]) -> None:
        done = self.folder / "programs/.unpacked"
        missing = [name for name in INSTALLED if not installed(name)]
        if done.exists() and not missing:
            return
        say("Getting Debian's packages of Docker ...")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=quiet)
        if missing:
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=quiet)
        shutil.rmtree(self.programs, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            self._fetch(Path(work) / "engine", PACKAGES, [])
            self._fetch(Path(work) / "plugins", PLUGINS, plugin_source(Path(work)))
        plugins = self.folder / "client/cli-plugins"
        shutil.rmtree(plugins, ignore_errors=True)
        plugins.mkdir(parents=True)
        for plugin in (self.programs / "usr/libexec/docker/cli-plugins").iterdir():
            plugin.rename(plugins / plugin.name)
        (self.folder / "client/daemon.json").write_text("{}")  # not the machine's /etc/docker/daemon.json
        done.touch()

    def _fetch(self, folder: Path, names: tuple[str, ...], options: list[str]) -> None:
        folder.mkdir(parents=True)
        run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *options, "download", *names], cwd=folder)
        self.programs.mkdir(exist_ok=True)
        for package in folder.glob("*.deb"):
            run(["dpkg-deb", "--extract", str(package), str(self.programs)])


def installed(package: str) -> bool:
    asked = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}", package]
    return subprocess.run(asked, capture_output=True, text=True).stdout.startswith("ii")


def mirror() -> str:
    """Where this machine gets Debian from."""
    sites = run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Component: main"])
    found = [site for site in sites.split() if "security" not in site]
    if not found:
        raise EngineError("apt knows no source of Debian's packages; see /etc/apt/sources.list.d.")
    return found[0]


def plugin_source(folder: Path) -> list[str]:
    """apt's options for the release that the plugins come from, beside the machine's own lists."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source = folder / "plugins.list"
    source.write_text(f"deb [signed-by={keyring}] {mirror()} {PLUGINS_RELEASE} main\n")
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    options = [
        f"Dir::Etc::sourcelist={source}", "Dir::Etc::sourceparts=-",
        f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}/cache",
    ]  # fmt: skip
    named = [argument for option in options for argument in ("-o", option)]
    run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *named, "update"])
    return named


def kernel_state() -> dict[str, object]:
    """What an engine changes: forwarding, iptables' tables, network interfaces."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout
    links = sorted(path.name for path in Path("/sys/class/net").iterdir())
    return {"forwarding": FORWARDING.read_text().strip(), "rules": rules, "links": links}


def restore(state: dict[str, object]) -> None:
    rules = str(state["rules"])
    for table, chains in TABLES.items():  # a table that is not named stays as it is
        if f"*{table}\n" not in rules:
            rules += "\n".join([f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), "COMMIT", ""])
    run(["iptables-restore"], input=rules)
    for link in Path("/sys/class/net").iterdir():
        if link.name not in state["links"] and (link.name == "docker0" or link.name.startswith("br-")):  # type: ignore[operator]
            run(["ip", "link", "delete", link.name])
    FORWARDING.write_text(str(state["forwarding"]))


def mounts_below(*folders: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in places if any(place.startswith(f"{folder}/") for folder in folders)]


def processes_naming(text: str) -> list[str]:
    """The processes whose command line names a path of this engine, and no other's: containerd and its shims."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
                if text in command:
                    found.append(f"process {entry.name} ({command[:60]})")
    return found
