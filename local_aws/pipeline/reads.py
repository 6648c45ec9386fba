"""Which members of its request an operation of ours looks at, where LOCAL_AWS_READS names a file for it.

The tests' local AWSs have one, and each is asked at its end whether anything that was given, and that members.toml
calls carried out, was looked at by nobody (tests/local_aws/daemon.py). Without a file nothing is wrapped.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local_aws.pipeline import members
from local_aws.pipeline.directory import operation

VARIABLE = "LOCAL_AWS_READS"
# What of a request is held to its body, by its headers, before there are parameters (s3/checksums.py): the length and
# the checksum of a document, and how its checksum was made.
BY_HEADERS = {"s3": ("ContentLength", "ContentMD5", "ChecksumAlgorithm")}
Fact = tuple[str, str, str, str]
"""("given" or "read", service, operation, member)."""


class Asked(dict):
    """A structure of a request that says which of its members are looked at: by name, or all when it is gone through.

    A copy says it, too; what is pickled is a plain dict, and says nothing.
    """

    __slots__ = ("_path", "_say")

    def __init__(self, content: Mapping[str, Any], path: str, say: Any) -> None:
        super().__init__(content)
        self._path, self._say = path, say

    def _looked(self, *names: Any) -> None:
        for name in names:
            self._say(f"{self._path}{name}")

    def __getitem__(self, name: Any) -> Any:
        self._looked(name)
        return super().__getitem__(name)

    def get(self, name: Any, default: Any = None) -> Any:
        self._looked(name)
        return super().get(name, default)

    def pop(self, name: Any, *default: Any) -> Any:
        self._looked(name)
        return super().pop(name, *default)

    def __contains__(self, name: Any) -> bool:
        self._looked(name)
        return super().__contains__(name)

    def __iter__(self) -> Iterator[Any]:
        self._looked(*dict.keys(self))
        return super().__iter__()

    def keys(self) -> Any:
        self._looked(*dict.keys(self))
        return super().keys()

    def items(self) -> Any:
        self._looked(*dict.keys(self))
        return super().items()

    def values(self) -> Any:
        self._looked(*dict.keys(self))
        return super().values()

    def __or__(self, other: Any) -> Any:
        return Asked({**_plain(self), **other}, self._path, self._say)

    def __ror__(self, other: Any) -> Any:
        return {**other, **_plain(self)}

    def copy(self) -> Asked:
        return Asked(_plain(self), self._path, self._say)

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Asked:
        return Asked({key: copy.deepcopy(value, memo) for key, value in dict.items(self)}, self._path, self._say)

    def __reduce__(self) -> Any:
        return dict, (_plain(self),)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


def _plain(asked: Asked) -> dict[str, Any]:
    return {key: dict.__getitem__(asked, key) for key in dict.keys(asked)}


class Reads:
    """Writes facts to the file that the environment names, each once; without one it is false, and wraps nothing."""

    def __init__(self) -> None:
        path = os.environ.get(VARIABLE)
        self._file = Path(path).open("a", encoding="utf-8") if path else None  # noqa: SIM115
        self._known: set[Fact] = set()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._file is not None

    def wrapped(self, service: str, model: Any, params: dict[str, Any]) -> dict[str, Any]:
        """A request's parameters as a mapping that says what is looked at."""
        if self._file is None or model.input_shape is None:
            return params

        def say(member: str) -> None:
            self._write(("read", service, model.name, member))

        return _wrapped(params, model.input_shape, "", say)

    def done(self, service: str, model: Any, params: Mapping[str, Any]) -> None:
        """A call went well: what it gave is to have been looked at by the end."""
        if model.input_shape is not None:
            for member in _given(params, model.input_shape, ""):
                self._write(("given", service, model.name, member))

    def _write(self, fact: Fact) -> None:
        if fact in self._known:
            return
        with self._lock:
            self._known.add(fact)
            if self._file is not None:
                self._file.write(json.dumps(fact) + "\n")
                self._file.flush()


def _wrapped(value: Any, shape: Any, path: str, say: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        found = {
            name: _wrapped(each, shape.members[name], f"{path}{name}.", say) if name in shape.members else each
            for name, each in value.items()
        }
        return Asked(found, path, say)
    if kind == "list" and isinstance(value, list):
        return [_wrapped(each, shape.member, path, say) for each in value]
    if kind == "map" and isinstance(value, dict):
        return {name: _wrapped(each, shape.value, path, say) for name, each in value.items()}
    return value


def _given(value: Any, shape: Any, path: str) -> Iterator[str]:
    """The members that a request gives, those of structures inside it with dots, without the structures."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        for name, each in value.items():
            if name in shape.members:
                yield from _given(each, shape.members[name], f"{path}{name}.")
    elif kind == "list" and isinstance(value, list):
        if _ends(shape.member):
            yield path[:-1]
        for each in value:
            yield from () if _ends(shape.member) else _given(each, shape.member, path)
    elif kind == "map" and isinstance(value, Mapping):
        if _ends(shape.value):
            yield path[:-1]
        for each in value.values():
            yield from () if _ends(shape.value) else _given(each, shape.value, path)
    elif value is not None:
        yield path[:-1]


def _ends(shape: Any) -> bool:
    return shape.type_name not in ("structure", "list", "map")


def ignored(file: Path) -> list[str]:
    """What was given to a local AWS, is carried out by members.toml, and was looked at by nobody."""
    if not file.exists():
        return []
    facts = {tuple(json.loads(line)) for line in file.read_text().splitlines() if line.endswith("]")}
    read = {fact[1:] for fact in facts if fact[0] == "read"}
    found = []
    for kind, service, name, member in sorted(facts):
        if kind == "given" and (service, name, member) not in read and member not in BY_HEADERS.get(service, ()):
            treatment = next(each.treatment for each in members.of(operation(service, name), service)
                             if each.path == member)  # fmt: skip
            if treatment in (members.CARRIED, members.ONLY):
                found.append(f"{service}.{name}.{member}")
    return found
