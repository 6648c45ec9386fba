"""The daemon: builds the services, serves the gateway, ticks every AWS minute, stops everything at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gc
import ipaddress
import logging
import os
import queue
import resource
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import IO

import moto.settings

from local_aws.addresses import NETWORKS, loopback, refused_port
from local_aws.aws import LocalAws, Settings
from local_aws.gateway import Gateway
from local_aws.listening import create_server
from local_aws.models import read_once
from local_aws.s3 import moto_side
from local_aws.services import SERVICES
from local_aws.state import snapshot
from local_aws.state.gate import Shut

log = logging.getLogger(__name__)

SSH_PORTS = (22, 2222)

read_once()


class StartError(Exception):
    """Why the daemon cannot start, as one sentence for the person who started it."""


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError."""
    lock, header = _take_state(settings.state)
    listener = _listen(settings)
    settings = dataclasses.replace(settings, ssh_port=_ssh_port(settings.ssh_port))
    # Many callers at once have many files open.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > soft else soft, hard))
    if not _is_loopback(settings.host):
        # Whatever name a client reaches this by, its first part is no bucket's name.
        moto.settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME = True
        log.warning(
            "listening on %s: whoever reaches port %s may do everything here, which includes running programs as this "
            "user; EC2 instances answer SSH on loopback addresses, to those who share this network alone",
            settings.host,
            settings.port,
        )  # fmt: skip
    # What was imported stays: it is looked through for garbage neither while the services are made nor later.
    gc.disable()
    gc.freeze()
    aws = LocalAws(settings)
    aws.services.extend(kind(aws) for kind in SERVICES)
    try:
        aws.store.open(expected=header is not None)
        if header is not None:
            aws.saver.restore(header)
    except snapshot.Refused as error:
        aws.store.close()
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(f"the state folder {settings.state} cannot be used: {error.strerror}") from error
    moto_side.teach_moto(aws.store)
    _clear_state(settings.state, header)
    gateway = Gateway(aws)
    server = create_server(gateway, listener, aws.door)
    told = _until_told()
    # Whoever calls meanwhile waits in the listener's queue: nobody is told of a world that is put back by half.
    for service in aws.services:
        service.start()
    accepting = threading.Thread(target=_accept, args=(server,), name="gateway", daemon=True)
    accepting.start()
    aws.saver.start()
    ending = threading.Event()
    threading.Thread(target=_tick, args=(aws, ending), name="minutes", daemon=True).start()
    gc.enable()
    log.info("ready on %s; an AWS minute lasts %g s; state in %s", aws.url, settings.minute_seconds, settings.state)
    # On a busy machine a signal was seen caught and this thread asleep all the same: awake, Python calls the handler.
    while told.empty():
        with contextlib.suppress(queue.Empty):
            told.get(timeout=1)
            break
    log.info("stopping")
    ending.set()
    # What runs is saved as running: it is the restart that ends it.
    aws.saver.close()
    for service in aws.services:
        service.stop()
    aws.instances.stop_all()
    shutil.rmtree(settings.state / "instances", ignore_errors=True)
    server.end()
    accepting.join(2)
    aws.store.close()
    lock.close()


def _until_told() -> queue.SimpleQueue[int]:
    """Has something in it when SIGTERM or SIGINT has come.

    A handler runs in between anything that the main thread does, also in between an earlier handler: it may take no
    lock, an Event's included, and what is told a thousand times must not nest a thousand deep.
    """
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def tell(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        # The one that Python's documentation says a handler may call ("reentrant").
        told.put(number)

    for number in numbers:
        signal.signal(number, tell)
    return told


def _accept(server) -> None:
    with contextlib.suppress(OSError, ValueError):
        server.run()


def _tick(aws: LocalAws, ending: threading.Event) -> None:
    """Call every service at the start of each AWS minute."""
    minute = aws.clock.minute
    while True:
        following = (time.time() // minute + 1) * minute
        if ending.wait(max(0.0, following - time.time())):
            return
        with contextlib.suppress(Shut), aws.saver.gate.call():
            for service in aws.services:
                try:
                    service.every_minute(following)
                except Exception:
                    log.exception("the minute of %s failed", type(service).__name__)


def _take_state(folder: Path) -> tuple[IO[str], snapshot.Header | None]:
    """Lock the state folder for this process; with the lock comes what there is to be restored. Raises StartError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StartError(f"the state folder {folder} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise StartError(
            f"the state folder {folder} is in use by another local AWS (process {lock.read().strip() or 'unknown'}); "
            "stop that one, or name another folder with --state"
        ) from None
    try:
        header = snapshot.check(folder)
    except snapshot.Refused as error:
        raise StartError(str(error)) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock, header


def _clear_state(folder: Path, header: snapshot.Header | None) -> None:
    """Delete what a killed predecessor left of its instances, and of saves that did not end."""
    shutil.rmtree(folder / "instances", ignore_errors=True)
    snapshot.clear_aside(folder, header)


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise StartError(
            f"port {settings.port} on {settings.host} cannot be used ({error.strerror}); choose another with --port "
            "or --host"
        ) from error
    listener.listen(1024)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ssh_port(wanted: int) -> int:
    """The port on which every EC2 instance answers SSH. Raises StartError for a wanted one that can't be used.

    The system may keep ports below 1024 to root, and an sshd that listens on every address takes port 22 of all.
    """
    if wanted:
        reason = refused_port(loopback(NETWORKS[0], 0), wanted)
        if reason:
            raise StartError(
                f"EC2 instances cannot answer SSH on port {wanted} ({reason}); choose another with --ssh-port"
            )
        return wanted
    usable = (port for port in SSH_PORTS if refused_port(loopback(NETWORKS[0], 0), port) is None)
    return next(usable, SSH_PORTS[-1])
