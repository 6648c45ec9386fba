"""CloudWatch Logs: the searches of which moto would leave out a part; it keeps the groups, and answers the rest."""

from __future__ import annotations

import re
from typing import Any

from moto.backends import get_backend

from local_aws.errors import AwsError
from local_aws.services.base import FORWARD, Call, Service

MOST_EVENTS = 10_000
# What moto does not pass over: terms that all have to be there, the first with a letter before all else; or one phrase.
PATTERN = re.compile(r'|[A-Za-z]\w*(\s+\w+)*|"[^"]*"')
COMMANDS = {"fields", "sort", "limit"}
FIELDS = {"@timestamp", "@message", "@logStream", "@log", "@ptr"}


class LogQueries(Service):
    """Source: CloudWatch Logs user guide, "Filter pattern syntax" and "CloudWatch Logs Insights language"."""

    name = "logs"

    def filter_log_events(self, call: Call) -> dict[str, Any]:
        params = call.params
        names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix")
        if names and prefix:
            raise _invalid("Give logStreamNames or logStreamNamePrefix, not both.")
        pattern = (params.get("filterPattern") or "").strip()
        if not PATTERN.fullmatch(pattern):
            raise _invalid(
                "The local AWS carries out a filterPattern of words that all have to be there, the first of which "
                f"begins with a letter, or of one phrase in quotes, not {pattern!r}."
            )
        if not params.get("logGroupName"):
            raise _invalid("logGroupName is missing.")
        backend = get_backend("logs")[call.account][call.region]
        group = backend.groups.get(params["logGroupName"])
        if group is None:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        if prefix:
            names = [name for name in list(group.streams) if name.startswith(prefix)]
            if not names:
                return {"events": [], "searchedLogStreams": []}
        events, token, searched = backend.filter_log_events(
            params["logGroupName"],
            names or [],
            params.get("startTime"),
            params.get("endTime"),
            params.get("limit") or MOST_EVENTS,
            params.get("nextToken"),
            pattern,
            params.get("interleaved", False),
        )
        return {"events": events, "searchedLogStreams": searched} | ({"nextToken": token} if token else {})

    def start_query(self, call: Call) -> dict[str, Any]:
        """Moto's queries know three commands, and pass over others."""
        for command in call.params["queryString"].split("|"):
            word, _, rest = command.strip().partition(" ")
            asked = {each.strip() for each in rest.split(",")}
            known = word.lower() in COMMANDS
            if known and word.lower() == "fields":
                known = asked <= FIELDS
            elif known and word.lower() == "sort":
                known = re.fullmatch(r"@timestamp(\s+(asc|desc))?", rest.strip()) is not None
            if not known:
                raise AwsError(
                    "MalformedQueryException",
                    f"The local AWS carries out fields of {', '.join(sorted(FIELDS))}, sort by @timestamp and limit, "
                    f"not '{command.strip()}'; FilterLogEvents searches for words.",
                )
        return FORWARD


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)
