"""One SSH connection to an EC2 instance: a key pair made for it, in memory only, and a host key that is checked."""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from musher.ec2.host_log import printable

CONNECT_SECONDS = 10
COMMAND_SECONDS = 60
MOST_BYTES = 2**20  # of one command's output: no answer is as long, and what a host says is kept in memory


class Unreachable(Exception):
    """The host does not answer, or the connection broke: trying again may help."""


class WrongHostKey(Exception):
    """Another host answers than the one that was launched: nothing may be sent to it."""


class CommandFailed(Exception):
    """A command on the host ended with another status than 0; the message has its last words."""


def key_pair() -> tuple[paramiko.Ed25519Key, str]:
    """A new key pair: the private key as paramiko takes it, the public one as an authorized_keys line."""
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return paramiko.Ed25519Key(file_obj=io.StringIO(text)), public.decode()


def fingerprint(key: paramiko.PKey) -> str:
    """A key's SHA-256 fingerprint as OpenSSH writes it, without the padding and the `SHA256:`."""
    return base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


class _OnlyKnown(paramiko.MissingHostKeyPolicy):
    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = allowed

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        if fingerprint(key) not in self.allowed:
            raise WrongHostKey(
                f"The host at {hostname} shows the key SHA256:{fingerprint(key)}, and the console of the instance that "
                f"was launched says {' or '.join(f'SHA256:{each}' for each in self.allowed)}: this is another host, "
                "and nothing was sent to it."
            )


@dataclass
class Host:
    """An instance as SSH sees it. `admit` lets a public key in for a minute (EC2 Instance Connect).

    `fingerprints` are those of its host keys; a host with another one is refused.
    """

    address: str
    port: int
    user: str
    fingerprints: Collection[str]
    admit: Callable[[str], None]
    _client: paramiko.SSHClient | None = None

    def connect(self) -> None:
        """Connect with a new key pair. Raises Unreachable and WrongHostKey."""
        self.close()
        private, public = key_pair()
        self.admit(public)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_OnlyKnown(self.fingerprints))
        try:
            client.connect(
                self.address,
                port=self.port,
                username=self.user,
                pkey=private,
                allow_agent=False,
                look_for_keys=False,
                timeout=CONNECT_SECONDS,
                banner_timeout=CONNECT_SECONDS,
                auth_timeout=CONNECT_SECONDS,
            )
        except WrongHostKey:
            client.close()
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            client.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from None
        client.get_transport().set_keepalive(15)
        self._client = client

    def run(self, command: str, stdin: bytes = b"", seconds: float = COMMAND_SECONDS) -> bytes:
        """Run a shell command; its standard output. Connects when there is no connection.

        Raises CommandFailed, also when the host says more than MOST_BYTES, Unreachable, also when it takes longer than
        `seconds`, and WrongHostKey.
        """
        if self._client is None:
            self.connect()
        assert self._client is not None
        try:
            given, out, err = self._client.exec_command(f"sh -c {shlex.quote(command)}", timeout=seconds)
            if stdin:
                given.write(stdin)
            given.channel.shutdown_write()
            deadline = time.monotonic() + seconds
            output, errors = self._read(out, deadline), self._read(err, deadline)
            status = out.channel.recv_exit_status()
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from None
        if status == -1:  # the connection ended before the command did
            self.close()
            raise Unreachable("the connection was cut")
        if status:
            words = " ".join(map(printable, (errors or output).strip()[-500:].split(b"\n")))
            raise CommandFailed(f"the command ended with status {status}: {words or 'it said nothing'}")
        return output

    def _read(self, stream: Any, deadline: float) -> bytes:
        """All that a command says. A host that goes on and on, or word by word for ever, is left."""
        read = bytearray()
        while part := stream.read(65_536):
            read += part
            if len(read) > MOST_BYTES:
                self.close()
                raise CommandFailed(f"the host said more than {MOST_BYTES} bytes")
            if time.monotonic() > deadline:
                self.close()
                raise Unreachable("the host did not come to an end of what it said")
        return bytes(read)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
