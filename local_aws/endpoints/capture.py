"""Data capture: calls of an endpoint, and their answers, as lines of JSON in S3.

AWS: SageMaker developer guide, "Capture data from real-time endpoint": the form of a line, and where files are:
`<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl`, the hour in UTC. Only calls that were answered are
captured. On AWS files come within minutes; here within an AWS minute, and whatever is left when the fleet ends.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import random
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.storage import parse_s3_uri

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.iam.acting import Acting

log = logging.getLogger(__name__)

AWS_MINUTE = 60.0
LARGEST_BUFFER = 4 * 2**20  # bytes that wait before they are written at once


def enabled(config: Mapping[str, Any]) -> bool:
    """Whether an endpoint configuration captures: API reference, DataCaptureConfig: as long as nobody turns it off."""
    given = config.get("DataCaptureConfig")
    return bool(given) and given.get("EnableCapture", True)


def summary(config: Mapping[str, Any], *, serving: bool) -> dict[str, Any] | None:
    """DataCaptureConfig as DescribeEndpoint has it."""
    given = config.get("DataCaptureConfig")
    if not given:
        return None
    return {
        "EnableCapture": enabled(config),
        "CaptureStatus": "Started" if serving and enabled(config) else "Stopped",
        "CurrentSamplingPercentage": given["InitialSamplingPercentage"],
        "DestinationS3Uri": given["DestinationS3Uri"],
        "KmsKeyId": "",  # which the response model requires; another one is refused when it is given
    }


class Capture:
    """Captures the calls of one fleet. Parameters: `config` an endpoint configuration that captures."""

    def __init__(
        self, aws: LocalAws, endpoint: str, config: Mapping[str, Any], drawn: Callable[[], float] = random.random
    ) -> None:
        given = config["DataCaptureConfig"]
        self.aws, self.endpoint, self._drawn = aws, endpoint, drawn
        self.bucket, self.prefix = parse_s3_uri(given["DestinationS3Uri"])
        self.share = given["InitialSamplingPercentage"] / 100
        modes = {each["CaptureMode"] for each in given["CaptureOptions"]}
        self.input, self.output = (bool({mode, "InputAndOutput"} & modes) for mode in ("Input", "Output"))
        header = given.get("CaptureContentTypeHeader") or {}
        self._encodings = dict.fromkeys(header.get("CsvContentTypes") or (), "CSV")
        self._encodings |= dict.fromkeys(header.get("JsonContentTypes") or (), "JSON")
        self.roles: dict[str, Acting | None] = {}
        """Variant -> its model's role, in whose name it is written."""
        self._waiting: dict[str, list[str]] = {}
        self._size = 0
        self._full = threading.Event()
        self._closed = False
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def take(self, variant: str, headers: Mapping[str, str], request: bytes, content_type: str, answer: bytes) -> None:
        """Capture a call that was answered, if it is drawn. `headers` of the request, in lower case."""
        if self._drawn() >= self.share:
            return
        data = {}
        if self.input:
            kind = headers.get("content-type") or "application/octet-stream"
            data["endpointInput"] = self._side("INPUT", kind, request)
        if self.output:
            data["endpointOutput"] = self._side("OUTPUT", content_type, answer)
        about = {"eventId": str(uuid.uuid4()), "inferenceTime": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"}
        if given := headers.get("x-amzn-sagemaker-inference-id"):
            about["inferenceId"] = given
        if given := headers.get("x-amzn-sagemaker-custom-attributes"):
            about["customAttributes"] = [given]
        line = json.dumps({"captureData": data, "eventMetadata": about, "eventVersion": "0"})
        with self._lock:
            self._waiting.setdefault(variant, []).append(line)
            self._size += len(line)
            if self._writer is None and not self._closed:
                self._writer = threading.Thread(target=self._write, name=f"capture-{self.endpoint}", daemon=True)
                self._writer.start()
            if self._size >= LARGEST_BUFFER:
                self._full.set()

    def _side(self, mode: str, content_type: str, content: bytes) -> dict[str, str]:
        encoding = self._encodings.get(content_type.partition(";")[0].strip().lower(), "BASE64")
        data = base64.b64encode(content).decode() if encoding == "BASE64" else content.decode("utf-8", "replace")
        return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}

    def _write(self) -> None:
        while not self._closed:
            self._full.wait(self.aws.clock.real(AWS_MINUTE))
            self.flush()

    def flush(self) -> None:
        """Write what waits. What cannot be written is lost, as it is on AWS, and the log says so."""
        with self._lock:
            waiting, self._waiting, self._size = self._waiting, {}, 0
            self._full.clear()
        for variant, lines in waiting.items():
            self._store(variant, lines)

    def _store(self, variant: str, lines: Iterable[str]) -> None:
        now = dt.datetime.now(dt.UTC)
        name = f"{now:%Y/%m/%d/%H}/{now:%M-%S}-{now.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
        key = "/".join(filter(None, (self.prefix.strip("/"), self.endpoint, variant, name)))
        try:
            s3 = self.aws.s3.under(self.roles.get(variant))
            s3.write(self.bucket, key, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            log.warning("what endpoint %s captured is lost: %s", self.endpoint, error)

    def close(self) -> None:
        """Write the rest, and end."""
        self._closed = True
        self._full.set()
        self.flush()
