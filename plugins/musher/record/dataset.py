"""The data set of a run, as the sync left it in the bucket."""

from __future__ import annotations

from typing import ClassVar

from musher.record.part import Part


class Dataset(Part):
    """Where the pictures came from, and what now lies in the bucket.

    `version` a digest of every file; `images` files per split; `sent`, `skipped`, `deleted` count files of this sync,
    `bytes` what it sent; `unreadable` files that are no images and were left out, `ignored` files outside any class.
    """

    NAME: ClassVar[str] = "dataset"

    source: str
    version: str
    classes: list[str]
    images: dict[str, int]
    sent: int | None = None
    skipped: int | None = None
    deleted: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    unreadable: list[str] = []
    ignored: list[str] = []
