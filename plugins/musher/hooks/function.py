"""The function behind its alias: which version answers, with how many environments ready, and how that is changed.

Provisioned concurrency sits on the version that the alias names, not on the alias: AWS refuses both together, and an
alias that moves with provisioned concurrency of its own has none for the version it moves to until that is prepared.
The alias's description names the version before, so that both change in one call, and a roll-back finds it.
Source: Lambda developer guide, "Configuring provisioned concurrency for a function"; API reference, UpdateAlias,
PutProvisionedConcurrencyConfig, PutFunctionConcurrency.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from musher import request_parameters
from musher.errors import UserError
from musher.hooks.serving import found, removed, wait_until
from musher.names import ALIAS
from musher.release.rehearsal import Account

LIMIT_SECONDS = 900

_PREVIOUS = re.compile(r"\bprevious_version=(\d+)\b")


class LiveFunction:
    """A function whose callers name the alias.

    Parameters: `client` boto3's of Lambda; `poll_seconds` between two looks at a state that changes; `log` is told
    what is done.
    """

    def __init__(self, client: Any, name: str, *, poll_seconds: float, log: Any = None) -> None:
        self.client, self.name = client, name
        self.poll_seconds = min(2.0, poll_seconds)
        self.log = log or logging.getLogger(__name__)

    # ---- as it is

    def configuration(self, qualifier: str = "") -> dict[str, Any] | None:
        """The configuration of a version; without a qualifier, of what is published next. None when there is none."""
        return found(lambda: self.client.get_function_configuration(**self._of(qualifier)))

    def alias(self) -> dict[str, Any] | None:
        return found(lambda: self.client.get_alias(FunctionName=self.name, Name=ALIAS))

    def serving_version(self) -> str | None:
        """The version that the alias names; None where there is no function or no alias yet."""
        alias = self.alias()
        return alias and alias["FunctionVersion"]

    def reserved(self) -> int | None:
        """Reserved concurrency; None when none is."""
        return self.client.get_function_concurrency(FunctionName=self.name).get("ReservedConcurrentExecutions")

    def provisioned(self) -> dict[str, int]:
        """How many environments are kept ready, or are being prepared, by the qualifier that they were asked for."""
        pages = self.client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=self.name)
        return {
            each["FunctionArn"].rsplit(":", 1)[-1]: each["RequestedProvisionedConcurrentExecutions"]
            for page in pages
            for each in page["ProvisionedConcurrencyConfigs"]
        }

    def settled(self, qualifier: str = "") -> Mapping[str, Any]:
        """Wait until it is neither being created nor updated. Raises AirflowException if that failed."""
        state = wait_until(
            lambda: self.configuration(qualifier),
            lambda now: bool(now) and now.get("State") != "Pending" and now.get("LastUpdateStatus") != "InProgress",
            what=f"the update of the function {self.name}",
            poll_seconds=self.poll_seconds,
            limit_seconds=LIMIT_SECONDS,
        )
        if "Failed" in (state.get("State"), state.get("LastUpdateStatus")):
            reason = state.get("LastUpdateStatusReason") or state.get("StateReason")
            raise AirflowException(f"The function {self.name} could not be updated: {reason}")
        return state

    # ---- changed

    def serve(self, version: str, *, provisioned: int, reserved: int | None) -> None:
        """Have a version answer the alias's callers, with its environments ready before the first of them comes.

        Whoever serves now goes on until then. Where the reserve has no room for both, what serves gives up some of its
        environments first, at most half of the reserve, and the new ones are completed after the alias has moved. Where
        the environments are on the alias itself and its version is to stay, all of them are given up first, and calls
        start environments on demand in between. What is as asked is not touched.

        Parameters: `provisioned` environments to be kept ready; `reserved` concurrency, at least as many.
        Raises AirflowException when the environments cannot be prepared: then the version before serves as it did.
        """
        alias, held = self.alias(), self.provisioned()
        serving = alias["FunctionVersion"] if alias else None
        limit = self._raise_reserved(reserved, sum(held.values()))
        for qualifier in held.keys() - {version, serving, ALIAS}:
            self._give_up(qualifier)  # nobody calls these
            del held[qualifier]
        first = self._make_room(version, serving, provisioned, held, limit)
        try:
            self._provision(version, first)
        except (AirflowException, TimeoutError):
            self._restore(version, serving, held)
            raise
        if serving != version:
            # AWS lets no alias with environments of its own name a version with some: for the moment of these two
            # calls, callers get environments that start on demand.
            self._give_up(ALIAS, held)
            self._point(version, alias)
            self._give_up(serving, held)
        else:
            self._point(version, alias)
        self._provision(version, provisioned)
        if reserved is not None and reserved != self.reserved():
            self.log.info("%s: %s calls at once are reserved from now on", self.name, reserved)
            self._reserve(reserved)

    def _make_room(
        self, version: str, serving: str | None, provisioned: int, held: Mapping[str, int], limit: int | None
    ) -> int:
        """Have what serves give up what the new environments need; returns how many can be prepared now."""
        others = {qualifier: number for qualifier, number in held.items() if qualifier != version}
        ours, theirs = held.get(version, 0), sum(others.values())
        if ALIAS in others and serving == version:
            self.log.info(
                "%s: giving up the %s provisioned environments of the alias %s first, since AWS keeps none ready for "
                "version %s beside them: calls start environments on demand until those are ready",
                self.name, theirs, ALIAS, version,
            )  # fmt: skip
            self._give_up(ALIAS)
            # A part of the reserve stays free for those calls.
            return provisioned if limit is None else min(provisioned, max(1, limit // 2, ours))
        if not others or limit is None or theirs + provisioned <= limit:
            return provisioned
        first = min(provisioned, max(1, limit - theirs, limit // 2, ours))
        for qualifier, number in others.items():
            left = min(number, limit - first)
            if left < number:
                self.log.info(
                    "%s: giving up %s of the %s provisioned environments of %s first: both need %s, and %s are "
                    "reserved",
                    self.name, number - left, number, qualifier, theirs + provisioned, limit,
                )  # fmt: skip
                self._provision(qualifier, left) if left else self._give_up(qualifier)
        return first

    def _raise_reserved(self, wanted: int | None, held: int) -> int | None:
        """Reserve more before more is needed; lowering comes last. AWS refuses fewer than are provisioned."""
        now = self.reserved()
        if wanted is None or wanted == now or (now or held) > wanted:
            return now
        self._reserve(wanted)
        return wanted

    def _reserve(self, number: int) -> None:
        self.client.put_function_concurrency(**request_parameters.reserved_concurrency(number, name=self.name))

    def _provision(self, qualifier: str, number: int) -> None:
        """Keep this many environments ready, and wait until they are. Raises AirflowException."""
        if not number:
            return
        of = self._of(qualifier)
        state = found(lambda: self.client.get_provisioned_concurrency_config(**of)) or {}
        asked = state.get("RequestedProvisionedConcurrentExecutions") == number
        if asked and state["Status"] == "READY":
            return
        if not (asked and state["Status"] == "IN_PROGRESS"):
            self.log.info("%s: keeping %s environments of %s ready", self.name, number, qualifier)
            self.client.put_provisioned_concurrency_config(
                **request_parameters.provisioned_concurrency(number, name=self.name, qualifier=qualifier)
            )
        state = wait_until(
            lambda: self.client.get_provisioned_concurrency_config(**of),
            lambda state: bool(state) and state["Status"] != "IN_PROGRESS",
            what=f"the provisioned concurrency of {self.name}",
            poll_seconds=self.poll_seconds,
            limit_seconds=LIMIT_SECONDS,
        )
        if state["Status"] != "READY":
            raise AirflowException(
                f"The provisioned concurrency of {self.name} is {state['Status']}: {state.get('StatusReason')}"
            )

    def _give_up(self, qualifier: str | None, held: Mapping[str, int] | None = None) -> None:
        """No environment of a version, or of the alias, is kept ready any more; with `held`, if there are any."""
        if qualifier and (held is None or qualifier in held):
            self.client.delete_provisioned_concurrency_config(**self._of(qualifier))
            self.log.info("%s: gave up the provisioned environments of %s", self.name, qualifier)

    def _restore(self, version: str, serving: str | None, held: Mapping[str, int]) -> None:
        """After environments of a version that could not be prepared: what served has its own again."""
        if version == serving:
            return
        self._give_up(version)
        for qualifier, number in held.items():
            if qualifier != version and self.provisioned().get(qualifier) != number:
                self.log.warning("%s: keeping %s environments of %s ready again", self.name, number, qualifier)
                self.client.put_provisioned_concurrency_config(
                    **request_parameters.provisioned_concurrency(number, name=self.name, qualifier=qualifier)
                )

    def _point(self, version: str, alias: Mapping[str, Any] | None) -> None:
        """The alias names the version, alone, and the version before in its description."""
        if alias is None:
            self.client.create_alias(**request_parameters.create_alias(name=self.name, version=version))
        elif alias["FunctionVersion"] != version or (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights"):
            before = alias["FunctionVersion"] if alias["FunctionVersion"] != version else previous_version(alias)
            self.client.update_alias(
                **request_parameters.update_alias(name=self.name, version=version, previous_version=before)
            )
            self.log.info("%s: %s names version %s from now on", self.name, ALIAS, version)

    def give_up_unused(self) -> None:
        """No environments are kept ready that the alias's callers do not reach, as those of a version whose preparation
        nobody finished."""
        if alias := self.alias():
            for qualifier in self.provisioned().keys() - {alias["FunctionVersion"], ALIAS}:
                self._give_up(qualifier)

    def delete_older(self) -> list[str]:
        """Delete the versions that neither serve nor are the one before; returns their numbers."""
        alias = self.alias()
        if alias is None:
            return []
        kept, gone = {"$LATEST", alias["FunctionVersion"], previous_version(alias)}, []
        pages = self.client.get_paginator("list_versions_by_function").paginate(FunctionName=self.name)
        for version in [each["Version"] for page in pages for each in page["Versions"] if each["Version"] not in kept]:
            try:
                if removed(lambda version=version: self.client.delete_function(**self._of(version))):
                    gone.append(version)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceConflictException":
                    raise
                # Another alias names it, which is not ours.
                self.log.warning("%s: version %s stays: %s", self.name, version, error.response["Error"]["Message"])
        return gone

    def _of(self, qualifier: str = "") -> dict[str, str]:
        return {"FunctionName": self.name, **({"Qualifier": qualifier} if qualifier else {})}


def account(client: Any) -> Account:
    """The account's quota of calls at once. Source: Lambda API reference, GetAccountSettings."""
    limit = client.get_account_settings()["AccountLimit"]
    return Account(limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"])


def previous_version(alias: Mapping[str, Any]) -> str | None:
    """The version that served before, from the alias's description; None for the first."""
    named = _PREVIOUS.search(alias.get("Description") or "")
    return named[1] if named else None


def move_alias_back(
    client: Any, name: str, *, poll_seconds: float, version: str | None = None, log: Any = None
) -> dict[str, str]:
    """Have the version before serve again, with as many environments ready as serve now, within the reserve.

    Moving back twice is moving forth again. Parameters: `version` another one than the one before.
    Returns `{version, previous_version}`: what serves now, and what did.
    Raises UserError when there is no version before, AirflowException when its environments cannot be prepared.
    """
    function = LiveFunction(client, name, poll_seconds=poll_seconds, log=log)
    alias = function.alias()
    if alias is None:
        raise UserError(f"The function {name} has no alias {ALIAS}: it has not been deployed.")
    serving, before = alias["FunctionVersion"], version or previous_version(alias)
    if before is None:
        raise UserError(f"The alias {ALIAS} of {name} names no version before {serving}: there is none to go back to.")
    if function.configuration(before) is None:
        raise UserError(f"The version {before} of {name}, which served before {serving}, does not exist any more.")
    held = function.provisioned()
    function.serve(before, provisioned=held.get(serving) or held.get(ALIAS) or 0, reserved=function.reserved())
    return {"version": before, "previous_version": serving}
