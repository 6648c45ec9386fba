"""An /opt of its own for a forked process, as opt.sh makes it for a command. Linux only, one thread, no `site`."""

import ctypes
import os

NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000  # unshare(2)
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000  # mount(2)
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(scratch, entries):
    """Go into mounts of this process's own, with /opt made of entries, whose form opt.sh describes. Raises OSError."""
    user, group = os.getuid(), os.getgid()
    checked(LIBC.unshare(NEW_USER | NEW_MOUNTS), "a user namespace")
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{file}", "w") as said:
            said.write(text)
    mount(None, "/", None, RECURSIVE | PRIVATE)
    os.makedirs(scratch, exist_ok=True)
    mount("/opt", scratch, None, BIND | RECURSIVE)
    mount("tmpfs", "/opt", "tmpfs", 0)
    for entry in entries:
        named = [entry.split("=", 1)] if entry != "-" else [(name, f"{scratch}/{name}") for name in os.listdir(scratch)]
        for name, path in named:
            put(f"/opt/{name}", path)


def put(target, path):
    """Have a file or a folder in another place, unless something is there."""
    if os.path.lexists(target):
        return
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path):
        os.mkdir(target)
        mount(path, target, None, BIND | RECURSIVE)
    elif os.path.exists(path):
        with open(target, "w"):
            mount(path, target, None, BIND)


def mount(source, target, kind, flags):
    arguments = (None if each is None else os.fsencode(each) for each in (source, target, kind))
    checked(LIBC.mount(*arguments, ctypes.c_ulong(flags), None), target)


def checked(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
