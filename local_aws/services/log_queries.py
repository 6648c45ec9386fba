"""CloudWatch Logs: the searches of which moto would leave out a part; it keeps the groups, and answers the rest."""

from __future__ import annotations

import re
import uuid
from typing import Any

from moto.backends import get_backend

from local_aws.errors import AwsError
from local_aws.insights.run import Event, run
from local_aws.services.base import Call, Service

MOST_EVENTS = 10_000
# What moto does not pass over: terms that all have to be there, the first with a letter before all else; or one phrase.
PATTERN = re.compile(r'|[A-Za-z]\w*(\s+\w+)*|"[^"]*"')


class LogQueries(Service):
    """Source: CloudWatch Logs user guide, "Filter pattern syntax" and "CloudWatch Logs Insights query syntax"."""

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
        backend = self._backend(call)
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
        """The answer is there at once: a query here reads what is in memory."""
        from moto.logs.models import LogQuery

        params, backend = call.params, self._backend(call)
        given = [params[name] for name in ("logGroupName", "logGroupNames", "logGroupIdentifiers") if params.get(name)]
        if len(given) != 1:
            raise _invalid("Give exactly one of logGroupName, logGroupNames and logGroupIdentifiers.")
        names = [given[0]] if isinstance(given[0], str) else given[0]
        groups = [self._group(backend, name) for name in names]
        start, end = params["startTime"] * 1000, params["endTime"] * 1000 + 999
        if start > end:
            raise _invalid(f"startTime {params['startTime']} is after endTime {params['endTime']}.")
        events = [
            Event(str(each.event_id), each.timestamp, each.ingestion_time, each.message, name,
                  f"{call.account}:{group.name}")
            for group in groups for name, stream in list(group.streams.items()) for each in list(stream.events)
            if start <= each.timestamp <= end
        ]  # fmt: skip
        rows = run(params["queryString"], events, params.get("limit") or MOST_EVENTS)
        # Moto's record, which its other operations list; what it would find itself is in no group.
        query = LogQuery(str(uuid.uuid4()), params["startTime"], params["endTime"], "fields @message", [])
        query.query, query.log_group_names = params["queryString"], [group.name for group in groups]
        query.results, query.language = rows, params.get("queryLanguage") or "CWLI"
        query.statistics = {
            "recordsMatched": float(len(rows)), "recordsScanned": float(len(events)),
            "bytesScanned": float(sum(len(each.message.encode()) for each in events)),
        }  # fmt: skip
        backend.queries[query.query_id] = query
        self.aws.saver.changed()
        return {"queryId": query.query_id}

    def get_query_results(self, call: Call) -> dict[str, Any]:
        query = self._backend(call).queries.get(call.params["queryId"])
        if query is None:
            raise AwsError("ResourceNotFoundException", f"The query {call.params['queryId']} does not exist.")
        return {
            "results": [[{"field": name, "value": value} for name, value in row.items()] for row in query.results],
            "status": query.status, "statistics": query.statistics, "queryLanguage": query.language,
        }  # fmt: skip

    def _backend(self, call: Call) -> Any:
        return get_backend("logs")[call.account][call.region]

    @staticmethod
    def _group(backend: Any, name: str) -> Any:
        """A log group by its name or its ARN. Raises AwsError."""
        name = name.partition(":log-group:")[2].removesuffix(":*") if name.startswith("arn:") else name
        if name not in backend.groups:
            raise AwsError("ResourceNotFoundException", f"Log group '{name}' does not exist.")
        return backend.groups[name]


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)
