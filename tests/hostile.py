"""Archives that try to get out of the folder that they are unpacked into, one way each."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path


def _file(name: str, content: bytes = b"got out") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def _other(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, target, 0o666
    member.devmajor, member.devminor = 1, 3
    return member, b""


WAYS = {
    "parent": lambda outside: [_file("../outside/new")],
    "parent, later": lambda outside: [_file("a/../../outside/new")],
    "absolute": lambda outside: [_file(f"{outside}/new")],
    "link": lambda outside: [_other("a", tarfile.SYMTYPE, str(outside)), _file("a/new")],
    "link to the parent": lambda outside: [_other("a", tarfile.SYMTYPE, ".."), _file("a/outside/new")],
    "link to a link": lambda outside: [
        _other("a", tarfile.SYMTYPE, "."),
        _other("b", tarfile.SYMTYPE, "a/../outside"),
        _file("b/new"),
    ],
    "hard link": lambda outside: [_other("a", tarfile.LNKTYPE, f"{outside}/kept"), _file("a")],
    "device": lambda outside: [_other("a", tarfile.CHRTYPE)],
    "pipe": lambda outside: [_other("a", tarfile.FIFOTYPE)],
}


def archive(way: str, folder: Path) -> Path:
    """A gzipped tar in `folder` that, unpacked into `folder/target`, tries to write to `folder/outside`."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("as it was")
    (folder / "target").mkdir()
    file = folder / "archive.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for member, content in [_file("before", b"a file"), *WAYS[way](outside)]:
            tar.addfile(member, io.BytesIO(content))
    return file


def got_out(folder: Path) -> list[str]:
    """What an archive of `archive` has done that it must not: files outside, and what is no file inside."""
    found = [f"wrote {each.relative_to(folder)}" for each in (folder / "outside").rglob("*") if each.name != "kept"]
    kept = folder / "outside/kept"
    if kept.read_text() != "as it was" or kept.stat().st_nlink != 1:
        found.append("reached the file outside")
    found += [f"wrote {each.name}" for each in folder.iterdir() if each.name not in _EXPECTED]
    return found + [f"made the {each.name}, {kind}" for each, kind in _special(folder / "target")]


_EXPECTED = {"outside", "target", "archive.tar.gz"}


def _special(target: Path) -> Iterator[tuple[Path, str]]:
    for each in target.rglob("*"):
        mode = each.lstat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
            yield each, "which is no file"
        elif stat.S_ISLNK(mode) and not each.resolve().is_relative_to(target.resolve()):
            yield each, "which leads outside"
