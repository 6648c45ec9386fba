"""What is the same for every call of an operation, worked out at the first one."""

from __future__ import annotations

import re
from typing import Any

from moto.core.model import OperationModel

from local_aws.pipeline import checks, members, parse, resources, tags
from local_aws.pipeline.directory import operation
from local_aws.s3 import front

# Operations after which there is nothing to save.
READS = re.compile(r"(Describe|List|Get|Head|Search|Filter|BatchGet|Simulate|Validate|Lookup)[A-Z]")


class Plan:
    """How the calls of one operation in one protocol are read, checked and authorised.

    Parameters
    ----------
    handler
        What of ours answers it; None where moto does.
    """

    __slots__ = (
        "check", "handler", "model", "name", "parse", "raw", "reads", "refuse", "resources", "service", "streamed",
        "tags",
    )  # fmt: skip

    def __init__(self, service: str, name: str, protocol: str, handler: Any) -> None:
        self.service, self.name, self.handler = service, name, handler
        self.model: OperationModel = operation(service, name)
        if service == "s3" and handler is not None:
            # What there is to be read of an object is read by its own operation.
            self.parse: parse.Parser = lambda exchange: front.parse(exchange.request, exchange.environ["wsgi.input"])
        else:
            self.parse = parse.parser(self.model, protocol)
        self.check = checks.check(self.model, service)
        self.refuse = members.refusing(self.model, service) if handler is not None else None
        self.tags = tags.refusing(self.model, service)
        self.resources = resources.finder(self.model, service)
        self.reads = READS.match(name) is not None
        self.raw = parse.has_raw_body(self.model)
        self.streamed = service == "s3" and handler is not None
