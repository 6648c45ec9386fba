"""Service Quotas: what the account may have of what lives here; and the command `quota`, which changes it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from local_aws import quotas
from local_aws.errors import AwsError
from local_aws.quotas import Quota
from local_aws.services.base import FORWARD, Call, Service, page
from local_aws.services.lambda_ import Lambda

# Moto has these.
MOTOS = {"vpc"}
# What AWS gives a new account at once, of what its own defaults say is more.
NEW_ACCOUNT = {quotas.CONCURRENT: 10}


class ServiceQuotas(Service):
    """The quotas of `local_aws.quotas`. Source: Service Quotas API reference."""

    name = "service-quotas"

    def remember(self) -> dict[str, float]:
        return dict(self.aws.quotas.changed)

    def restore(self, kept: dict[str, float], saved_at: dt.datetime) -> None:
        self.aws.quotas.changed = dict(kept)

    def list_service_quotas(self, call: Call) -> dict[str, Any]:
        listed = [self._described(each, self.value(each)) for each in self._of(call)]
        if call.params.get("QuotaCode"):
            listed = [each for each in listed if each["QuotaCode"] == call.params["QuotaCode"]]
        return page(listed, call, key="Quotas")

    def list_aws_default_service_quotas(self, call: Call) -> dict[str, Any]:
        if call.params["ServiceCode"] in MOTOS:
            return FORWARD
        return page([self._described(each, each.default) for each in self._of(call)], call, key="Quotas")

    def get_service_quota(self, call: Call) -> dict[str, Any]:
        if call.params["ServiceCode"] in MOTOS:
            return FORWARD
        quota = self._named(call)
        return {"Quota": self._described(quota, self.value(quota))}

    def get_aws_default_service_quota(self, call: Call) -> dict[str, Any]:
        quota = self._named(call)
        return {"Quota": self._described(quota, quota.default)}

    # --- what the command `quota` asks for

    def value(self, quota: Quota) -> float:
        """What the account has now."""
        if quota.name == quotas.CONCURRENT:
            return self.aws.service(Lambda).concurrency.limit
        return self.aws.quotas.value(quota.name)

    def set(self, quota: Quota, value: float) -> None:
        """From now on; what is in use already stays. Raises AwsError for a value that AWS never gives."""
        if quota.name == quotas.CONCURRENT:
            if value < 1 or value != int(value):
                raise AwsError(
                    "IllegalArgumentException", f"{quota.name} must be a whole number from 1, not {value:g}."
                )
            self.aws.service(Lambda).concurrency.limit = int(value)
        elif value < 0:
            raise AwsError("IllegalArgumentException", f"{quota.name} must be a number from 0, not {value:g}.")
        else:
            self.aws.quotas.changed[quota.name] = value

    def as_new_account(self) -> None:
        """Every quota as an account has it on its first day."""
        for each in quotas.known().values():
            self.set(each, NEW_ACCOUNT.get(each.name, each.default))

    # --- inside

    @staticmethod
    def _of(call: Call) -> list[Quota]:
        service = call.params["ServiceCode"]
        if service not in quotas.SERVICE_NAMES:
            raise AwsError(
                "NoSuchResourceException",
                f"The local AWS has quotas of {', '.join(sorted(quotas.SERVICE_NAMES))}, not of {service!r}.",
            )
        return [each for each in quotas.known().values() if each.service == service]

    def _named(self, call: Call) -> Quota:
        for each in self._of(call):
            if each.code == call.params["QuotaCode"]:
                return each
        raise AwsError("NoSuchResourceException", "The request failed because the specified quota does not exist.")

    def _described(self, quota: Quota, value: float) -> dict[str, Any]:
        arn = f"arn:aws:servicequotas:{self.aws.region}:{self.aws.account}:{quota.service}/{quota.code}"
        return {
            "ServiceCode": quota.service,
            "ServiceName": quotas.SERVICE_NAMES[quota.service],
            "QuotaArn": arn,
            "QuotaCode": quota.code,
            "QuotaName": quota.name,
            "Value": float(value),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
            "QuotaAppliedAtLevel": "ACCOUNT",
        }
