"""What runs on an EC2 host: it boots, answers SSH, executes the user data once and powers off.

    python -I host.py FOLDER ADDRESS[,ADDRESS] PORT

The folder is its disk: on one that has booted before, the keys of the host are found and no user data is executed.
Standard output is the console. Everything else that a host has to know it asks the metadata service, as on AWS. The
processes that it starts find its environment, with `shutdown`, `poweroff` and `sudo` before all other commands.
It stands alone: the Python of the local AWS runs it without the local AWS's folder on the path.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import shlex
import shutil
import signal
import sys
import termios
import time
import urllib.error
import urllib.request
from pathlib import Path

import asyncssh
import psutil

USERS = ("ubuntu", "ec2-user")
"""Who may log in: the users of the Deep Learning AMIs."""
GRACE_SECONDS = 5.0
WEIGH_SECONDS = 1.0
# What a stock sshd takes over from its client (AcceptEnv).
ACCEPTED = ("LANG", "LC_")
HASHES = "#" * 61
SUDO = """#!/bin/sh
# There is one user on this host, who may do everything.
while [ $# -gt 0 ]; do
    case "$1" in
        -u|-g) shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec env "$@"
"""


def console(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


class Metadata:
    """Asks the instance metadata service, version 2."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._token, self._until = "", 0.0

    def get(self, path: str) -> str | None:
        """What is at a path below /latest/, None for nothing. Raises OSError when the service does not answer."""
        if time.monotonic() > self._until:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            self._token = self._open("/latest/api/token", "PUT", headers)
            self._until = time.monotonic() + 21_000
        try:
            return self._open(f"/latest/{path}", "GET", {"X-aws-ec2-metadata-token": self._token})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def admits(self, address: str) -> bool:
        """Whether the network lets a connection from an address through."""
        try:
            self._open(f"/network/admits/{address}", "GET", {})
        except OSError:
            return False
        return True

    def _open(self, path: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self._endpoint + path, method=method, headers=headers)
        with self._opener.open(request, timeout=10) as response:
            return response.read().decode("utf-8", "surrogateescape")


class Login(asyncssh.SSHServer):
    """Who gets in: an address that the security groups admit, a user of the AMI, a key that is known right now."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection
        if self._host.metadata.admits(connection.get_extra_info("peername")[0]):
            self._host.connections.add(connection)
        else:
            connection.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._host.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username in USERS and key.public_data in await asyncio.to_thread(self._keys, username)

    def _keys(self, user: str) -> set[bytes]:
        found = set()
        for path in (f"managed-ssh-keys/active-keys/{user}", "public-keys/0/openssh-key"):
            for line in (self._host.metadata.get(f"meta-data/{path}") or "").splitlines():
                with contextlib.suppress(asyncssh.KeyImportError):
                    found.add(asyncssh.import_public_key(line).public_data)
        return found


class Host:
    """One host, from boot to power off."""

    def __init__(self, folder: Path, addresses: list[str], port: int) -> None:
        self.folder, self.addresses, self.port = folder, addresses, port
        self.home = folder / "home"
        self.metadata = Metadata(os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"])
        self.name = (self.metadata.get("meta-data/local-hostname") or addresses[0]).split(".")[0]
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._shell = shutil.which("bash") or "/bin/sh"
        self._due = folder / "shutdown"
        self._timer: asyncio.TimerHandle | None = None
        self._off = asyncio.Event()
        self._tasks: set[asyncio.Task[int]] = set()

    async def run(self) -> None:
        """Boot, and come back when it is off."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._off.set)
        loop.add_signal_handler(signal.SIGUSR1, self._schedule)
        self.home.mkdir(parents=True, exist_ok=True)
        os.chdir(self.home)
        self._write_commands()
        # In the order of /etc/ssh/ssh_host_*key.pub.
        keys = [self._key(kind) for kind in ("ecdsa-sha2-nistp256", "ssh-ed25519")]
        servers = [
            await asyncssh.listen(
                address,
                self.port,
                server_factory=lambda: Login(self),
                server_host_keys=keys,
                process_factory=self._session,
                sftp_factory=True,
                allow_scp=True,
                encoding=None,
                line_editor=False,
            )
            for address in self.addresses
        ]
        console("[  OK  ] Started ssh.service - OpenBSD Secure Shell server.")
        work = [asyncio.create_task(self._configure(keys, began)), asyncio.create_task(_weigh_sessions())]
        await self._off.wait()
        for server in servers:
            server.close()
        await self._end_processes()
        for task in work:
            task.cancel()

    # Boot

    def _key(self, kind: str) -> asyncssh.SSHKey:
        """The host's key of a kind, which it makes when it boots first."""
        file = self.folder / f"ssh_host_{kind}_key"
        if file.exists():
            return asyncssh.read_private_key(file)
        key = asyncssh.generate_private_key(kind, comment=f"root@{self.name}")
        key.write_private_key(file)
        return key

    def _write_commands(self) -> None:
        folder = self.folder / "sbin"
        folder.mkdir(exist_ok=True)
        (folder / "sudo").write_text(SUDO)
        script = str(Path(__file__).with_name("shutdown.py"))
        words = [sys.executable, "-I", "-S", script, str(os.getpid()), str(self._due)]
        for name in ("shutdown", "poweroff"):
            (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join([*words, name])} "$@"\n')
        for file in folder.iterdir():
            file.chmod(0o755)

    async def _configure(self, keys: list[asyncssh.SSHKey], began: float) -> None:
        """cloud-init's last stage: the user data, then the host's keys on the console, then its final message.

        The user data is executed by the first boot of an instance alone, as cloud-init's modules that have the
        frequency "once per instance".
        """
        configured = self.folder / "configured"
        if not configured.exists():
            configured.touch()
            await self._execute_user_data()
        stamp = time.strftime("<14>%b %e %H:%M:%S ec2: ", time.gmtime())
        console(
            *(
                stamp + line
                for line in (
                    "",
                    HASHES,
                    "-----BEGIN SSH HOST KEY FINGERPRINTS-----",
                    *(f"256 {key.get_fingerprint()} root@{self.name} ({_kind(key)})" for key in keys),
                    "-----END SSH HOST KEY FINGERPRINTS-----",
                    HASHES,
                )
            ),
            "-----BEGIN SSH HOST KEY KEYS-----",
            *(key.export_public_key().decode().strip() for key in keys),
            "-----END SSH HOST KEY KEYS-----",
            time.strftime("Cloud-init finished at %a, %d %b %Y %H:%M:%S +0000.", time.gmtime())
            + f" Datasource DataSourceEc2Local.  Up {time.monotonic() - began:.2f} seconds",
        )

    async def _execute_user_data(self) -> None:
        text = await asyncio.to_thread(self.metadata.get, "user-data")
        if not text:
            return
        if not text.startswith("#!"):
            console("cloud-init: the user data is no script (#!); a host of the local AWS executes scripts only")
            return
        script = self.folder / "user-data"
        script.write_bytes(text.encode("utf-8", "surrogateescape"))
        script.chmod(0o700)
        try:
            child = await asyncio.create_subprocess_exec(
                script, cwd=self.home, env=self._environment("root"), start_new_session=True
            )
            failed = await self._watch(child)
        except OSError as error:
            console(f"cloud-init: {text.splitlines()[0]}: {error.strerror}")
            failed = 1
        if failed:
            console(
                "cc_scripts_user.py[WARNING]: Failed to run module scripts_user "
                "(scripts in /var/lib/cloud/instance/scripts)"
            )

    # SSH

    async def _session(self, process: asyncssh.SSHServerProcess) -> None:
        """Run a command, or a shell, with the client at its streams.

        As with sshd the session lasts until all who hold its output have closed it, and what it started goes on when
        the client leaves, unless it was given a terminal.
        """
        environment = self._environment(process.get_extra_info("username"))
        environment |= {name: value for name, value in process.env.items() if name.startswith(ACCEPTED)}
        here, there = process.get_extra_info("sockname"), process.get_extra_info("peername")
        environment["SSH_CONNECTION"] = f"{there[0]} {there[1]} {here[0]} {here[1]}"
        command = [self._shell, "-c", process.command] if process.command else [self._shell]
        if process.term_type:
            status = await self._in_terminal(process, command, environment | {"TERM": process.term_type})
        else:
            status = await self._with_pipes(process, command, environment)
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)

    async def _with_pipes(self, process, command: list[str], environment: dict[str, str]) -> int:
        (child_in, stdin), (stdout, child_out), (stderr, child_err) = os.pipe(), os.pipe(), os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *command, stdin=child_in, stdout=child_out, stderr=child_err,
                cwd=self.home, env=environment, start_new_session=True,
            )  # fmt: skip
        finally:
            for end in (child_in, child_out, child_err):
                os.close(end)
        ended = self._watch(child)
        await _converse(process, child, stdin, {stdout: process.stdout, stderr: process.stderr})
        return await asyncio.shield(ended)

    async def _in_terminal(self, process, command: list[str], environment: dict[str, str]) -> int:
        master, slave = pty.openpty()
        _resize(master, process.term_size)
        try:
            child = await asyncio.create_subprocess_exec(
                *command, stdin=slave, stdout=slave, stderr=slave,
                cwd=self.home, env=environment, start_new_session=True,
                preexec_fn=_take_terminal,
            )  # fmt: skip
        finally:
            os.close(slave)
        ended = self._watch(child)
        await _converse(process, child, os.dup(master), {master: process.stdout})
        return await asyncio.shield(ended)

    def _watch(self, child: asyncio.subprocess.Process) -> asyncio.Task[int]:
        """The child's exit status. Held here: a child that nobody refers to is killed by asyncio."""
        task = asyncio.ensure_future(child.wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _environment(self, user: str) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        path = f"{self.folder / 'sbin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return environment | {
            "HOME": str(self.home), "USER": user, "LOGNAME": user, "SHELL": self._shell, "PATH": path,
        }  # fmt: skip

    # Power off

    def _schedule(self) -> None:
        """`shutdown` has written down when to power off, or has taken it back."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        with contextlib.suppress(FileNotFoundError, ValueError):
            seconds = max(0.0, float(self._due.read_text()) - time.time())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._off.set)

    async def _end_processes(self) -> None:
        """SIGTERM to everything on the host; what is left after the grace is killed by the supervisor."""
        for connection in list(self.connections):
            connection.close()
        for each in _others():
            with contextlib.suppress(psutil.Error):
                each.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while _others() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)


async def _converse(process, child, stdin: int, outputs: dict[int, asyncssh.SSHWriter]) -> None:
    """Carry data between client and child until all output is at its end or the client has left.

    Then every descriptor is closed: to a child with a terminal that is a SIGHUP, to others a SIGPIPE when they write.
    """
    reading = asyncio.gather(*(_to_client(descriptor, writer) for descriptor, writer in outputs.items()))
    tasks = [
        reading,
        asyncio.ensure_future(process.channel.wait_closed()),
        asyncio.ensure_future(_from_client(process.stdin, stdin, child)),
    ]
    await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _to_client(descriptor: int, writer: asyncssh.SSHWriter) -> None:
    os.set_blocking(descriptor, False)
    loop = asyncio.get_running_loop()
    try:
        # A terminal ends with EIO; a client that has left breaks the pipe.
        with contextlib.suppress(OSError, asyncssh.Error):
            while True:
                await _ready(descriptor, loop.add_reader, loop.remove_reader)
                data = os.read(descriptor, 65_536)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
    finally:
        os.close(descriptor)


async def _from_client(reader: asyncssh.SSHReader, descriptor: int, child: asyncio.subprocess.Process) -> None:
    os.set_blocking(descriptor, False)
    try:
        with contextlib.suppress(OSError, asyncssh.Error):
            while True:
                try:
                    data = await reader.read(65_536)
                except asyncssh.TerminalSizeChanged as change:
                    _resize(descriptor, change.term_size)
                except asyncssh.SignalReceived as sent:
                    os.killpg(child.pid, getattr(signal, f"SIG{sent.signal}", signal.SIGTERM))
                except asyncssh.BreakReceived:
                    pass
                else:
                    if not data:
                        break
                    await _write(descriptor, data)
    finally:
        os.close(descriptor)


async def _write(descriptor: int, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            await _ready(descriptor, loop.add_writer, loop.remove_writer)


async def _ready(descriptor: int, add, remove) -> None:
    """Wait until a descriptor can be read or written without waiting."""
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)


def _take_terminal() -> None:
    """In the child, before its command: standard input becomes its terminal, whose end ends it as under sshd."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a local AWS under nohup hands "ignored" on to all that it starts
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resize(terminal: int, size: tuple[int, int, int, int]) -> None:
    columns, rows = size[:2]
    if columns and rows:
        with contextlib.suppress(OSError):
            termios.tcsetwinsize(terminal, (rows, columns))


async def _weigh_sessions() -> None:
    """Give every session on this host the niceness of the host.

    The kernel weighs sessions before processes (sched(7), autogroup), and a new session begins without its parent's
    weight: what a client starts with `setsid` would come behind everything else on this machine.
    """
    niceness = os.nice(0)
    if niceness == 0 or not os.path.exists("/proc/self/autogroup"):
        return
    weighed: set[int] = set()
    while True:
        for each in _others():
            with contextlib.suppress(OSError):
                session = os.getsid(each.pid)
                if session not in weighed:
                    Path(f"/proc/{each.pid}/autogroup").write_text(str(niceness))
                    weighed.add(session)
        await asyncio.sleep(WEIGH_SECONDS)


def _kind(key: asyncssh.SSHKey) -> str:
    return "ED25519" if key.algorithm == b"ssh-ed25519" else "ECDSA"


def _others() -> list[psutil.Process]:
    """The live processes of this host besides this one: all below the supervisor, who adopts what was detached."""
    found = []
    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(os.getppid()).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if each.pid != os.getpid() and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
    return found


async def main(folder: Path, addresses: list[str], port: int) -> None:
    await Host(folder, addresses, port).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3])))
