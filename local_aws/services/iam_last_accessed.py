"""IAM's reports of what a user, a role, a group or a policy was last used for."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections import OrderedDict
from typing import Any, NamedTuple

from moto.backends import get_backend

from local_aws import managed_policies
from local_aws.errors import AwsError
from local_aws.iam import table
from local_aws.iam.evaluate import Named
from local_aws.iam.identities import named
from local_aws.services.base import Call, Service

KEPT = 100
DEFAULT_ITEMS = 100


class Report(NamedTuple):
    """What was asked for, and what there was to be said at that moment."""

    granularity: str
    made: dt.datetime
    services: list[dict[str, Any]]
    entities: dict[str, list[dict[str, Any]]]
    """By a service's namespace: who of those that have the policy has called it."""


class IamLastAccessed(Service):
    """GenerateServiceLastAccessedDetails and what reads its reports, from what the daemon has seen since it started.

    Source: IAM user guide, "Refine permissions in AWS using last accessed information": services that policies allow,
    with the last attempt to call each, denied ones too, and management actions. A report is made at once. AWS tracks
    the actions of most services; here those of all are, but for the calls about objects, messages and the like.
    """

    name = "iam"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._reports: OrderedDict[str, Report] = OrderedDict()
        self._lock = threading.Lock()

    def generate_service_last_accessed_details(self, call: Call) -> dict[str, Any]:
        arn = call.params["Arn"]
        policies, entities = self._about(arn)
        granularity = call.params.get("Granularity") or "SERVICE_LEVEL"
        last = {each: self.aws.iam.journal.last(each) for each in entities}
        services = _granted(policies)
        report = Report(
            granularity,
            dt.datetime.now(dt.UTC),
            [_service(name, actions, last, call.region, granularity) for name, actions in services.items()],
            {name: self._entities(name, last) for name in services},
        )
        job = str(uuid.uuid4())
        with self._lock:
            self._reports[job] = report
            while len(self._reports) > KEPT:
                self._reports.popitem(last=False)
        return {"JobId": job}

    def get_service_last_accessed_details(self, call: Call) -> dict[str, Any]:
        report = self._report(call)
        return {
            "JobStatus": "COMPLETED", "JobType": report.granularity, "JobCreationDate": report.made,
            "JobCompletionDate": report.made, **_page(report.services, call, "ServicesLastAccessed"),
        }  # fmt: skip

    def get_service_last_accessed_details_with_entities(self, call: Call) -> dict[str, Any]:
        report, service = self._report(call), call.params["ServiceNamespace"]
        if service not in report.entities:
            raise AwsError("InvalidInput", f"The service {service} is not in the report: no policy allows it.")
        return {
            "JobStatus": "COMPLETED", "JobCreationDate": report.made, "JobCompletionDate": report.made,
            **_page(report.entities[service], call, "EntityDetailsList"),
        }  # fmt: skip

    def _report(self, call: Call) -> Report:
        found = self._reports.get(call.params["JobId"])
        if found is None:
            raise AwsError("NoSuchEntity", f"The job {call.params['JobId']} cannot be found.", status=404)
        return found

    def _about(self, arn: str) -> tuple[list[Named], list[str]]:
        """(policies, ARNs of those whose calls count) of an ARN."""
        iam = get_backend("iam")[self.aws.account]["aws"]
        found = self.aws.iam.identities.policies_of(arn)
        if found is not None:
            group = next((each for each in iam.groups.values() if each.arn == arn), None)
            return list(found[0]), [arn] if group is None else [each.arn for each in group.users]
        if arn.startswith(managed_policies.OF_AWS):
            managed_policies.load(self.aws.account)
        policy = iam.managed_policies.get(arn)
        if policy is None:
            raise AwsError("NoSuchEntity", f"{arn} cannot be found.", status=404)
        text = next(each.document for each in policy.versions if each.version_id == policy.default_version_id)
        holders = [*iam.roles.values(), *iam.users.values()]
        return [named(arn, text)], [each.arn for each in holders if arn in each.managed_policies]

    def _entities(self, service: str, last: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
        found = []
        for arn, actions in last.items():
            times = [at for action, at in actions.items() if action.startswith(f"{service}:")]
            kind, _, name = arn.rpartition(":")[2].partition("/")
            known = self.aws.iam.identities.policies_of(arn)
            assert known is not None
            about = {
                "Arn": arn, "Name": name.rpartition("/")[2], "Type": kind.upper(),
                "Id": known[2].user_id.partition(":")[0], "Path": "/",
            }  # fmt: skip
            found.append({"EntityInfo": about, **({"LastAuthenticated": _moment(max(times))} if times else {})})
        return found


def _granted(policies: list[Named]) -> dict[str, list[str]]:
    """The services that policies allow, each with its actions that they do; no Deny is weighed, as on AWS."""
    found: dict[str, list[str]] = {}
    for service, names in table.services():
        allowed = [
            name for name in names
            if any(each.allows for one in policies for each in one.policy.about(f"{service}:{name}"))
        ]  # fmt: skip
        if allowed:
            found[service] = allowed
    return found


def _service(
    name: str, actions: list[str], last: dict[str, dict[str, float]], region: str, granularity: str
) -> dict[str, Any]:
    """One ServiceLastAccessed. Its name is its namespace: nobody here knows how AWS writes it."""
    used = {
        arn: {action.partition(":")[2]: at for action, at in times.items() if action.startswith(f"{name}:")}
        for arn, times in last.items()
    }
    latest = max(((max(times.values()), arn) for arn, times in used.items() if times), default=None)
    answer: dict[str, Any] = {
        "ServiceName": name, "ServiceNamespace": name,
        "TotalAuthenticatedEntities": sum(bool(times) for times in used.values()),
    }  # fmt: skip
    if latest:
        answer |= {
            "LastAuthenticated": _moment(latest[0]), "LastAuthenticatedEntity": latest[1],
            "LastAuthenticatedRegion": region,
        }  # fmt: skip
    if granularity == "ACTION_LEVEL":
        answer["TrackedActionsLastAccessed"] = [
            _action(action, used, region) for action in actions if not table.about_data(f"{name}:{action}")
        ]
    return answer


def _action(action: str, used: dict[str, dict[str, float]], region: str) -> dict[str, Any]:
    latest = max(((times[action], arn) for arn, times in used.items() if action in times), default=None)
    answer: dict[str, Any] = {"ActionName": action}
    if latest:
        answer |= {
            "LastAccessedEntity": latest[1], "LastAccessedTime": _moment(latest[0]), "LastAccessedRegion": region,
        }  # fmt: skip
    return answer


def _moment(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


def _page(items: list[Any], call: Call, key: str) -> dict[str, Any]:
    marker, size = call.params.get("Marker") or "0", call.params.get("MaxItems") or DEFAULT_ITEMS
    if not marker.isdigit():
        raise AwsError("InvalidInput", f"The marker {marker!r} is invalid.")
    start = int(marker)
    more = start + size < len(items)
    page: dict[str, Any] = {key: items[start : start + size], "IsTruncated": more}
    return page | ({"Marker": str(start + size)} if more else {})
