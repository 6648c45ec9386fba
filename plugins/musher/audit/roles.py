"""The project's roles: who may take them, what they last did, which of their permissions nobody uses; and policies that
are attached to nothing."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from musher.audit.looking import CRITICAL, LOW, MEDIUM, Looking, days
from musher.audit.openness import openings
from musher.hooks.serving import pairs
from musher.record import AuditedRole, ServiceUse
from musher.words import listed

ROLE, TRUST, PERMISSION, POLICY = "unused role", "trust", "unused permission", "unattached policy"

LONGEST_REPORT_SECONDS = 120  # IAM makes them within seconds, as a rule; it promises nothing


def look(
    at: Looking,
    named: Iterable[str] = (),
    *,
    sleep: Callable[[float], None] = time.sleep,
    limit_seconds: float = LONGEST_REPORT_SECONDS,
) -> list[AuditedRole]:
    """Look at the roles and policies whose names begin with the project's.

    Parameters: `named` ARNs of further roles that the Variable names. `sleep` waits for IAM's reports, which are all
    asked for first.
    """
    iam, found, jobs = at.client("iam"), [], {}
    names = {arn.rpartition("/")[2] for arn in named if arn}
    with at.at("the list of roles"):
        for page in iam.get_paginator("list_roles").paginate():
            names |= {each["RoleName"] for each in page["Roles"] if each["RoleName"].startswith(f"{at.project}-")}
    for name in sorted(names):
        with at.at(f"the role {name}"):
            role = iam.get_role(RoleName=name)["Role"]
            # Another project's name may begin with this one's.
            if pairs(role.get("Tags") or []).get("project", at.project) != at.project:
                continue
            found.append(role)
            _trust(at, role)
            _last_used(at, role)
            with at.at(f"what the role {name} last did"):
                jobs[name] = iam.generate_service_last_accessed_details(Arn=role["Arn"], Granularity="ACTION_LEVEL")[
                    "JobId"
                ]
    used: dict[str, list[ServiceUse]] = {}
    deadline = time.monotonic() + limit_seconds
    for role in found:
        name = role["RoleName"]
        if name in jobs:
            with at.at(f"what the role {name} last did"):
                services = _services(iam, jobs[name], sleep, deadline)
                if isinstance(services, str):
                    at.not_seen(f"what the role {name} last did", services)
                else:
                    used[name] = [_use(each) for each in services]
                    _unused(at, role, used[name])
    _unattached(at, iam)
    return [_audited(role, used.get(role["RoleName"])) for role in found]


def _audited(role: Mapping[str, Any], services: list[ServiceUse] | None) -> AuditedRole:
    last = role.get("RoleLastUsed") or {}
    return AuditedRole(
        name=role["RoleName"],
        created=_iso(role["CreateDate"]),
        last_used=_iso(last.get("LastUsedDate")),
        region=last.get("Region"),
        services=services,
    )


def _trust(at: Looking, role: Mapping[str, Any]) -> None:
    for each in openings(role["AssumeRolePolicyDocument"], at.account):
        at.found(
            CRITICAL if each.anybody else MEDIUM,
            TRUST,
            role["Arn"],
            f"The role may be taken by {each.who}.",
            "Name in the role's trust policy who has to take it, with aws:SourceAccount or a token's subject; the "
            "stack of infra/ does, once it is deployed again.",
        )


def _last_used(at: Looking, role: Mapping[str, Any]) -> None:
    last = (role.get("RoleLastUsed") or {}).get("LastUsedDate")
    if at.days_since(last or role["CreateDate"]) < at.unused_days:
        return
    since = f"since {last:%Y-%m-%d}" if last else f"since it was made on {role['CreateDate']:%Y-%m-%d}"
    at.found(
        LOW,
        ROLE,
        role["Arn"],
        f"Nobody has used the role {since}.",
        "If nothing of the project needs it, delete it, or the stack that made it. One that is needed now and then, as "
        "for training on EC2, may stay.",
    )


def _services(iam: Any, job: str, sleep: Callable[[float], None], deadline: float) -> list[Mapping[str, Any]] | str:
    """A report of IAM's, once it is made; a sentence where it is not."""
    pause = 0.5
    while (answer := iam.get_service_last_accessed_details(JobId=job))["JobStatus"] == "IN_PROGRESS":
        if time.monotonic() >= deadline:
            return "IAM has not made its report in time."
        sleep(pause)
        pause = min(8, 2 * pause)
    if answer["JobStatus"] == "FAILED":
        return f"IAM could not make its report: {(answer.get('Error') or {}).get('Message', 'it does not say why')}"
    services = list(answer["ServicesLastAccessed"])
    while answer.get("IsTruncated"):
        answer = iam.get_service_last_accessed_details(JobId=job, Marker=answer["Marker"])
        services += answer["ServicesLastAccessed"]
    return services


def _use(service: Mapping[str, Any]) -> ServiceUse:
    tracked = service.get("TrackedActionsLastAccessed") or []
    return ServiceUse(
        service=service["ServiceNamespace"],
        last_used=_iso(service.get("LastAuthenticated")),
        actions={each["ActionName"]: _iso(each.get("LastAccessedTime")) for each in tracked},
    )


def _unused(at: Looking, role: Mapping[str, Any], services: Iterable[ServiceUse]) -> None:
    """Permissions that nobody has used. What IAM tracks no action of is judged by the service as a whole."""
    if at.days_since(role["CreateDate"]) < at.unused_days:
        return  # too young to say
    for each in services:
        remedy = "Take it out of the role's policy, unless something that is seldom done needs it."
        if _old(at, each.last_used):
            what = f"The role may call {each.service}, and has not done so for {days(at.unused_days)}."
            at.found(LOW, PERMISSION, role["Arn"], what, remedy)
            continue
        idle = sorted(name for name, last in each.actions.items() if _old(at, last))
        if idle:
            actions = listed([f"{each.service}:{name}" for name in idle])
            what = f"The role may call {actions}, and has not done so for {days(at.unused_days)}."
            at.found(LOW, PERMISSION, role["Arn"], what, remedy)


def _old(at: Looking, moment: str | None) -> bool:
    return moment is None or at.days_since(dt.datetime.fromisoformat(moment)) >= at.unused_days


def _unattached(at: Looking, iam: Any) -> None:
    with at.at("policies that are attached to nothing"):
        for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
            for policy in page["Policies"]:
                bound = policy.get("PermissionsBoundaryUsageCount") or 0
                if not policy["PolicyName"].startswith(f"{at.project}-") or policy["AttachmentCount"] or bound:
                    continue
                at.found(
                    LOW,
                    POLICY,
                    policy["Arn"],
                    "The policy is attached to nobody, and is nobody's boundary.",
                    "Delete it; what nobody needs is not there to be attached by mistake.",
                )


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
