"""# Audit the security

Looks, and changes nothing, at what of this project others could reach and at what nobody needs any more: roles, who may
take them and what they last did; permissions and policies that nobody uses; a bucket that is public or unencrypted;
functions, their URLs and a topic that are open to others; access keys that are old; container images that AWS no longer
patches. Each finding has a severity, the place and a remedy, on a page in the bucket
(`runs/<run>/security_audit.html`). What AWS does not let it read is there as "not looked at", and never counts as fine.

**A critical or high finding fails the run**, once the page is written and the topic of the Variable is told.

**Runs** every Monday at 05:00 UTC, and by hand. **Costs** nothing but its calls.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, chain, dag
from musher.config import SecurityAuditConfig
from musher.operators.account import CheckAccountOperator
from musher.operators.security_audit import AuditSecurityOperator

WEEKLY = CronTriggerTimetable("0 5 * * 1", timezone="UTC")


@dag(
    schedule=WEEKLY,
    params=SecurityAuditConfig.params(),
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 2, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "security"],
)
def audit_security():
    account = CheckAccountOperator(task_id="check_account", what="nothing")
    chain(account, AuditSecurityOperator(task_id="audit_security"))


audit_security()
