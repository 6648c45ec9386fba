"""The project's security: looked at, reported, and a failed run where something is severe."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

from musher import images
from musher.audit import accepted, keys, resources, roles, supported
from musher.audit.looking import Looking
from musher.config import Environment, SecurityAuditConfig
from musher.errors import UserError
from musher.operators.base import MusherOperator, plainly, run_of
from musher.record import SecurityAudit
from musher.report import security_audit

if TYPE_CHECKING:
    from airflow.sdk import Context


class SecurityError(UserError):
    """The audit has found something severe; the page is written, and the topic told."""


class AuditSecurityOperator(MusherOperator):
    """Look at who may reach what of this project, and write what is wrong to `runs/<run>/security_audit.json` and
    `.html`. It reads and changes nothing. Returns the page's address and how many findings there are of each severity.

    What AWS does not answer is on the page as not looked at. Fails without a retry where a finding that is not accepted
    is critical or high.
    """

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, env, now = SecurityAuditConfig.from_params(dict(context["params"])), self.environment, _now()
        patient = functools.cache(
            lambda service: self.client(service, retries={"mode": "standard", "max_attempts": 10})
        )
        accepted.check(env.accepted)
        caller = patient("sts").get_caller_identity()
        at = Looking(
            patient,
            project=env.project,
            account=caller["Account"],
            now=now,
            unused_days=config.unused_days,
            key_days=config.key_days,
        )
        named = (env.training_role_arn, env.endpoint_role_arn, env.lambda_role_arn, env.lambda_rehearsal_role_arn)
        audited = roles.look(at, named)
        resources.bucket(at, env.bucket)
        resources.functions(at)
        resources.topic(at, env.notifications_topic_arn)
        keys.look(at, caller["Arn"])
        supported.look(at, _images(env))
        findings = accepted.mark(at.sorted(), env.accepted, now.date())
        part = SecurityAudit(
            at=now.isoformat(timespec="seconds"),
            project=env.project,
            environment=env.kind,
            region=env.region,
            account=at.account,
            unused_days=config.unused_days,
            key_days=config.key_days,
            passed=not security_audit.severe(findings),
            findings=findings,
            not_found=[
                f"{each.check} at {each.where} ({each.severity}), accepted until {each.until}: {each.reason}"
                for each in accepted.unmatched(findings, env.accepted)
            ],
            not_looked_at=at.not_looked_at,
            roles=audited,
        )
        return self._reported(run_of(context).key, part)

    def _reported(self, run_key: str, part: SecurityAudit) -> dict[str, Any]:
        """Write, tell, and then fail where something is severe."""
        for line in security_audit.lines(part):
            self.log.info("%s", line)
        severe = security_audit.severe(part.findings)
        if severe:
            where = self.environment.uri(security_audit.key(run_key))
            text = "\n".join([f"audit_security found, on {where}:", *map(security_audit.line, severe)])
            part = part.replace(not_notified=self.notify("the security audit found something severe", text))
        self.write_part(run_key, part)
        page = security_audit.write(self.client("s3"), self.environment.bucket, run_key, part)
        self.log.info("The report is at %s", page)
        if severe:
            first = f"{severe[0].where}: {severe[0].what}"
            raise SecurityError(f"{len(severe)} of the findings at {page} are critical or high; the first is {first}")
        return {"page": page, **security_audit.counts(part), "not_looked_at": len(part.not_looked_at)}


def _images(env: Environment) -> dict[str, str]:
    """What jobs and endpoints will be started with, by what they are."""
    return {
        "training jobs": env.training_image or images.image(images.TRAINING, "cpu", env.region),
        "the next endpoint": env.inference_image or images.image(images.INFERENCE, "cpu", env.region),
    }


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
