"""What all parts of a run record share: strict where they are made, forgiving where they are read."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from musher.errors import UserError

VERSION_KEY = "record_version"  # not `version`: a data set and a function have one of their own


class RecordError(UserError):
    """A part of a run record that cannot be read: damaged, or written by a newer Musher."""


class Entry(BaseModel):
    """One thing in a part. Made with a field that it does not have, or without one that it needs, it is refused
    (pydantic.ValidationError); so are NaN and infinity, which JSON has no words for."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        ser_json_inf_nan="constants",  # so that they are refused when they are written, also where anything may stand
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
        defer_build=True,  # DAG files import this, and never make one
    )

    @classmethod
    def from_json(cls, content: Any, where: str = "") -> Self:
        """What was written. Fields it does not know are left out.

        Parameters: `where` what a message calls it.
        Raises RecordError with one sentence on the first field that is wrong.
        """
        try:
            return cls.model_validate(content, extra="ignore")
        except ValidationError as error:
            raise RecordError(f"{where or cls.__name__} is damaged: {sentence(error)}") from None

    def to_json(self) -> dict[str, Any]:
        """Plain values, fit for JSON and XCom."""
        return self.model_dump(mode="json", by_alias=True)

    def replace(self, **changes: Any) -> Self:
        """The same with other values in some fields, checked as when it is made."""
        return type(self)(**{**dict(self), **changes})


class Part(Entry):
    """One file of a run record, `runs/<run>/<NAME>.json`, laid out as VERSION says."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1

    @classmethod
    def older(cls, content: Any, version: int) -> Any:
        """The content of an older version as this one lays it out."""
        return content

    @classmethod
    def from_json(cls, content: Any, where: str = "") -> Self:
        where, version = where or cls.NAME, 1
        if isinstance(content, Mapping):
            version = content.get(VERSION_KEY, 1)
        if type(version) is not int or version < 1:
            raise RecordError(f"{where} is damaged: {VERSION_KEY} is {version!r}; it has to be a whole number from 1.")
        if version > cls.VERSION:
            raise RecordError(
                f"{where} has version {version}; this Musher reads up to {cls.VERSION}: "
                "read it with the Musher that wrote it, or a newer one."
            )
        if version < cls.VERSION:
            content = cls.older(content, version)
        return super().from_json(content, where)

    def to_json(self) -> dict[str, Any]:
        return {VERSION_KEY: self.VERSION, **super().to_json()}


def sentence(error: ValidationError) -> str:
    """The first thing that is wrong, for a person: which field, what it is, what it has to be."""
    first = error.errors(include_url=False)[0]
    named = (f".{step}" if str(step).isidentifier() else f"[{step!r}]" for step in first["loc"])
    where = "".join(named).lstrip(".")
    if first["type"] == "missing":
        return f"{where} is missing."
    found = reprlib.repr(first["input"])
    message = first["msg"].replace("Input should be", "it has to be")
    return f"{where or 'it'} is {found}; {message}."
