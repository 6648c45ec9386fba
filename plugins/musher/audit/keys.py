"""Access keys that do not end by themselves: how old they are, and whether anybody uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.audit.looking import CRITICAL, HIGH, MEDIUM, Looking, days

KEY = "access key"


def look(at: Looking, caller: str = "") -> None:
    """Look at the keys of all of the account's users, and of its root user.

    Parameters: `caller` the ARN that Airflow calls as: a key of that user can do what the project can.
    """
    iam = at.client("iam")
    with at.at("the keys of the root user"):
        if iam.get_account_summary()["SummaryMap"].get("AccountAccessKeysPresent"):
            at.found(
                CRITICAL,
                KEY,
                f"arn:aws:iam::{at.account}:root",
                "The account's root user has access keys.",
                "Delete them: nothing can limit what they do.",
            )
    with at.at("the list of users"):
        for page in iam.get_paginator("list_users").paginate():
            for user in page["Users"]:
                with at.at(f"the access keys of the user {user['UserName']}"):
                    for keys in iam.get_paginator("list_access_keys").paginate(UserName=user["UserName"]):
                        for key in keys["AccessKeyMetadata"]:
                            if key["Status"] == "Active":
                                _key(at, iam, user, key, ours=user["Arn"] == caller)


def _key(at: Looking, iam: Any, user: Mapping[str, Any], key: Mapping[str, Any], *, ours: bool) -> None:
    age = at.days_since(key["CreateDate"])
    if age < at.key_days:
        return
    last = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"].get("LastUsedDate")
    unused = last is None or at.days_since(last) >= at.unused_days
    # Of a key's id the last four characters tell it from the user's other one, and nobody can search for it.
    what = f"The key ending in {key['AccessKeyId'][-4:]} of {user['UserName']} is {days(age)} old"
    what += ", and Airflow calls AWS with that user" if ours else ""
    if unused:
        what += f"; it was last used on {last:%Y-%m-%d}" if last else "; it was never used"
    at.found(
        HIGH if ours else MEDIUM,
        KEY,
        user["Arn"],
        f"{what}.",
        "Delete it: nobody uses it."
        if unused
        else "Give Airflow's workers a role instead, whose credentials end by themselves."
        if ours
        else "Replace it by a new one or, better, by a role.",
    )
