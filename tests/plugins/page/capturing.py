"""Captured calls in a bucket that is a dictionary."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import types
from typing import Any

from PIL import Image

NOW = dt.datetime(2026, 12, 1, 12, 30, tzinfo=dt.UTC)
PREFIX = "capture/musher-image-classifier/AllTraffic/"
WEIGHTS = "0123456789abcdef"


class Missing(Exception):
    pass


class Bucket:
    """What of S3 captured calls are read by; `asked` the operations, in order."""

    exceptions = types.SimpleNamespace(NoSuchKey=Missing)

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []

    def get_paginator(self, name: str) -> Any:
        assert name == "list_objects_v2"
        return types.SimpleNamespace(paginate=lambda **asked: [self._listed(**asked)])

    def _listed(self, *, Bucket: str, Prefix: str, Delimiter: str = "") -> dict[str, Any]:
        self.asked.append(("list", Prefix))
        keys = [key for key in sorted(self.objects) if key.startswith(Prefix)]
        if not Delimiter:
            return {"Contents": [{"Key": key, "Size": len(self.objects[key])} for key in keys]}
        folders = {Prefix + key[len(Prefix) :].partition("/")[0] + "/" for key in keys}
        return {"CommonPrefixes": [{"Prefix": each} for each in sorted(folders)]}

    def get_object(self, *, Bucket: str, Key: str, Range: str = "bytes=0-") -> dict[str, Any]:
        self.asked.append(("get", Key))
        if Key not in self.objects:
            raise Missing
        last = Range.partition("-")[2]
        return {"Body": io.BytesIO(self.objects[Key][: int(last) + 1 if last else None])}

    def capture(self, at: dt.datetime, *lines: Any, name: str = "") -> str:
        """A file of lines; its key."""
        key = f"{PREFIX}{at:%Y/%m/%d/%H}/{at:%M-%S}-000-{name}.jsonl"
        self.objects[key] = "".join(
            f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines
        ).encode()
        return key


def photo(shade: int = 0, size: tuple[int, int] = (24, 16), kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, shade // 256, 90)).save(buffer, kind, **more)
    return buffer.getvalue()


def line(
    data: bytes,
    label: str = "a",
    probability: float = 0.9,
    *,
    weights: str = WEIGHTS,
    at: dt.datetime = NOW,
    answer: Any = None,
    encoding: str = "JSON",
) -> dict[str, Any]:
    """A line as the endpoint's data capture writes it. `answer` in the place of the predictions."""
    told = json.dumps({"predictions": [{"label": label, "probability": probability}]} if answer is None else answer)
    if encoding == "BASE64":
        told = base64.b64encode(told.encode()).decode()
    return {
        "captureData": {
            "endpointInput": {
                "observedContentType": "image/png",
                "mode": "INPUT",
                "data": base64.b64encode(data).decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": f"application/json; weights={weights}" if weights else "application/json",
                "mode": "OUTPUT",
                "data": told,
                "encoding": encoding,
            },
        },
        "eventMetadata": {"eventId": "1", "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"},
        "eventVersion": "0",
    }
