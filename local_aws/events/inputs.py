"""What a rule's target gets of an event: Input, InputPath, InputTransformer, or all of it.

AWS: EventBridge user guide, "Amazon EventBridge input transformation".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

TOKEN = re.compile(r'\\.|"|<([\w.\-]+)>', re.DOTALL)


def text_of(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, str]) -> str:
    """What is sent to a target. `event` may have `ingestion-time`, which is not part of it; `rule` is arn and name."""
    whole = {name: value for name, value in event.items() if name != "ingestion-time"}
    if target.get("Input") is not None:
        return target["Input"]
    if target.get("InputPath"):
        return json.dumps(_at(target["InputPath"], whole).get("value"))
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(whole)
    values = {
        name: found["value"]
        for name, path in (transformer.get("InputPathsMap") or {}).items()
        if (found := _at(path, whole))
    }
    values |= {
        "aws.events.rule-arn": rule["arn"],
        "aws.events.rule-name": rule["name"],
        "aws.events.event.ingestion-time": event.get("ingestion-time", event["time"]),
        "aws.events.event": {name: value for name, value in whole.items() if name != "detail"},
        "aws.events.event.json": whole,
    }
    return _filled(transformer["InputTemplate"], values)


def _at(path: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON path finds in an event, as {"value": ...}; empty when it finds nothing."""
    import jsonpath_ng.ext  # 0.05 s, and few rules need it

    found = jsonpath_ng.ext.parse(path).find(event)
    return {"value": found[0].value} if found else {}


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with the values in the places of its variables.

    Outside of quotes a value is JSON; inside of them it is part of the text, nothing where the event does not have it.
    """
    quoted = False

    def put(match: re.Match[str]) -> str:
        nonlocal quoted
        if match[1] is None:
            quoted ^= match[0] == '"'
            return match[0]
        value = values.get(match[1], "")
        if not quoted:
            return json.dumps(value)
        return json.dumps(value if isinstance(value, str) else json.dumps(value))[1:-1]

    return TOKEN.sub(put, template)
