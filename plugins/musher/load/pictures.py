"""The pictures that are sent to what was deployed: a sample over all classes of the test set."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from musher.config import Environment
from musher.dataset.listing import is_junk
from musher.dataset.picture import MOST_EVENT_BYTES, what_is_sent, why_not_sent
from musher.errors import UserError

MOST_PICTURES = 50
# All of them are kept in memory, signed and unsigned: of larger pictures the smaller ones are taken.
ENOUGH_BYTES = 100_000_000
TRIES = 5

log = logging.getLogger(__name__)


class LoadTestError(UserError):
    """A load test that cannot be run as asked."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture of the test set: its `file` below the test folder, the class that it belongs to, and its bytes."""

    file: str
    label: str
    data: bytes


def pictures_to_send(s3: Any, env: Environment, dataset_uri: str | None, *, most: int | None = None) -> list[bytes]:
    """The bytes of `labelled_pictures`."""
    return [picture.data for picture in labelled_pictures(s3, env, dataset_uri, most=most)]


def labelled_pictures(
    s3: Any, env: Environment, dataset_uri: str | None, *, most: int | None = None
) -> list[LabelledPicture]:
    """Real pictures of the data set's test split, about as many of each class, the same ones every time.

    `most` of them, from classes spread over all where that is fewer than there are; None: 50, or one of each class
    where there are more. Only such as the function takes. Raises LoadTestError when there are none.
    """
    parts = urlparse(f"{dataset_uri or env.uri('dataset', 'images', '')}test/")
    bucket, prefix = parts.netloc, parts.path.lstrip("/")
    classes = _classes(s3, bucket, prefix)
    if not classes:
        raise LoadTestError(f"There are no pictures to send at s3://{bucket}/{prefix}.")
    most = most or max(MOST_PICTURES, len(classes))
    unfit: dict[str, str] = {}
    open_classes = [
        _fit(s3, bucket, prefix, _mixed(found, ENOUGH_BYTES // most), unfit)
        for found in _spread(list(classes.values()), most)
    ]
    pictures: list[LabelledPicture] = []
    with ThreadPoolExecutor(min(16, s3.meta.config.max_pool_connections)) as pool:
        while open_classes and len(pictures) < most:
            asked = open_classes[: most - len(pictures)]
            taken = list(pool.map(lambda each: next(each, None), asked))
            pictures += [picture for picture in taken if picture is not None]
            ended = {id(each) for each, picture in zip(asked, taken, strict=True) if picture is None}
            open_classes = [each for each in open_classes if id(each) not in ended]
    for key, why in unfit.items():
        log.info("%s is not sent: %s", key, why)
    if not pictures:
        key, why = min(unfit.items())
        raise LoadTestError(
            f"No picture at s3://{bucket}/{prefix} can be sent to the function, which takes {what_is_sent()}: "
            f"{key} was left out because {why}."
        )
    return pictures


def _classes(s3: Any, bucket: str, prefix: str) -> dict[str, list[dict[str, Any]]]:
    """The objects of each class folder, classes in order of their names."""
    found: dict[str, list[dict[str, Any]]] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            path = item["Key"].removeprefix(prefix)
            name, _, rest = path.partition("/")
            if rest and not rest.endswith("/") and not is_junk(path):
                found.setdefault(name, []).append(item)
    return dict(sorted(found.items()))


def _spread(classes: list[Any], most: int) -> list[Any]:
    """At most `most` of the classes, from the first to the last."""
    count = min(most, len(classes))
    return [classes[number * len(classes) // count] for number in range(count)]


def _mixed(items: list[dict[str, Any]], enough: int) -> list[dict[str, Any]]:
    """A class's objects in an order that has nothing to do with their names; those above `enough` bytes come last."""

    def place(item: dict[str, Any]) -> tuple[int, bytes]:
        return max(0, item["Size"] - enough), hashlib.sha256(item["Key"].encode()).digest()

    return sorted(items, key=place)


def _fit(
    s3: Any, bucket: str, prefix: str, items: list[dict[str, Any]], unfit: dict[str, str]
) -> Iterator[LabelledPicture]:
    """The pictures of a class that can be sent, as they are asked for; why others cannot is put into `unfit`.

    A class of which several in a row cannot be sent is left alone: each has to be fetched to be judged.
    """
    misses = 0
    for item in items:
        if item["Size"] > MOST_EVENT_BYTES:
            unfit[item["Key"]] = f"it has {item['Size']:,} bytes"
            return  # so have those that follow
        data = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        why = why_not_sent(data)
        if why is None:
            misses = 0
            file = item["Key"].removeprefix(prefix)
            yield LabelledPicture(file, file.split("/")[0], data)
            continue
        unfit[item["Key"]] = why
        misses += 1
        if misses == TRIES:
            return
