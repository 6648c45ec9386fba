"""Lambda's operations on reserved and provisioned concurrency, and on what of it the account has."""

from __future__ import annotations

from typing import Any

from local_aws.errors import AwsError
from local_aws.functions.code import invalid
from local_aws.functions.provisioned import Provisioned
from local_aws.functions.records import LATEST, Function
from local_aws.services.base import Call, Service
from local_aws.services.lambda_ import Lambda, page


class LambdaConcurrency(Service):
    """Reserved concurrency of functions, provisioned concurrency of versions and aliases."""

    name = "lambda"

    @property
    def functions(self) -> Lambda:
        return self.aws.service(Lambda)

    def get_account_settings(self, call: Call) -> dict[str, Any]:
        return {
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800,
                "CodeSizeUnzipped": 262_144_000,
                "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": self.functions.concurrency.limit,
                "UnreservedConcurrentExecutions": self.functions.concurrency.unreserved(),
            },
            "AccountUsage": {
                "TotalCodeSize": sum(
                    one.code.size for each in self.functions.functions.values() for one in each.versions.values()
                ),
                "FunctionCount": len(self.functions.functions),
            },
        }

    def put_function_concurrency(self, call: Call) -> dict[str, Any]:
        function, _ = self.functions.resolve(call)
        reserved = call.params["ReservedConcurrentExecutions"]
        account = self.functions.concurrency

        def check(others: int, provisioned: int) -> None:
            if account.limit - others - reserved < account.minimum_unreserved:
                raise invalid(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    "UnreservedConcurrentExecution below "
                    f"its minimum value of [{account.minimum_unreserved}]."
                )
            if reserved < provisioned:
                raise invalid(
                    "ReservedConcurrentExecutions  should not be lower than function's total provisioned concurrency "
                    f"[{provisioned}]."
                )

        account.reserve(function, reserved, check)
        return {"ReservedConcurrentExecutions": reserved}

    def get_function_concurrency(self, call: Call) -> dict[str, Any]:
        function, _ = self.functions.resolve(call)
        return {} if function.reserved is None else {"ReservedConcurrentExecutions": function.reserved}

    def delete_function_concurrency(self, call: Call) -> None:
        function, _ = self.functions.resolve(call)
        self.functions.concurrency.reserve(function, None, lambda *_: None)

    def put_provisioned_concurrency_config(self, call: Call) -> dict[str, Any]:
        function, qualifier = self.functions.resolve(call)
        return describe(self.provision(function, qualifier, call.params["ProvisionedConcurrentExecutions"]))

    def provision(self, function: Function, qualifier: str | None, requested: int) -> Provisioned:
        """Ask for a number of ready environments of a version or an alias. Raises AwsError where AWS refuses it."""
        account = self.functions.concurrency
        if qualifier in (None, LATEST) or function.version(qualifier).number == LATEST:
            raise invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
        alias = function.aliases.get(qualifier)
        if alias and alias.weights:
            raise invalid("Alias with weights can not be used with Provisioned Concurrency")  # AWS's own words
        version = function.version(qualifier)
        for each in account.provisioned.of(function):
            if each.version is version and each.qualifier != qualifier:
                raise invalid(
                    f"Provisioned Concurrency is already configured on {each.qualifier!r}, which is the same version "
                    f"{version.number}: configure it on one of them."
                )

        def check(others: int, reserved: int) -> None:
            if function.reserved is not None and others + requested > function.reserved:
                raise invalid(
                    "Requested Provisioned Concurrency should not be greater than the "
                    "reservedConcurrentExecution for function"
                )
            if function.reserved is None and others + requested > account.limit - reserved - account.minimum_unreserved:
                raise invalid(
                    "Specified ConcurrentExecutions for function decreases account's "
                    "UnreservedConcurrentExecution below its "
                    f"minimum value of [{account.minimum_unreserved}]."
                )

        return account.provisioned.provision(function, qualifier, version, requested, check)

    def unprovision(self, function: Function, qualifier: str) -> None:
        """End the ready environments of a version or an alias, if there are any."""
        self.functions.concurrency.provisioned.end((function.name, qualifier))

    def configuration(self, function: Function, qualifier: str | None) -> Provisioned | None:
        """The provisioned concurrency of a version or an alias."""
        found = self.functions.concurrency.provisioned.of(function)
        return next((each for each in found if each.qualifier == qualifier), None)

    def every_minute(self, now: float) -> None:
        """What of the provisioned concurrency was used in the minute that has just ended; zeros where nothing was."""
        middle = now - self.aws.clock.minute / 2
        for place in self.functions.concurrency.provisioned.all():
            ready, used = self.functions.concurrency.provisioned.used(place)
            if not ready:
                continue
            name = place.function.name
            dimensions = {"FunctionName": name, "Resource": f"{name}:{place.qualifier}"}
            for metric, unit, of in (
                ("ProvisionedConcurrentExecutions", "Count", 1),
                ("ProvisionedConcurrencyUtilization", "None", ready),
            ):
                average, least, most = (min(each, ready) / of for each in used)
                self.aws.metrics.put_range("AWS/Lambda", metric, dimensions, average, (least, most), unit, middle)

    def get_provisioned_concurrency_config(self, call: Call) -> dict[str, Any]:
        function, qualifier = self.functions.resolve(call)
        return describe(self._config(function, qualifier))

    def delete_provisioned_concurrency_config(self, call: Call) -> None:
        function, qualifier = self.functions.resolve(call)
        function.version(qualifier)
        self.unprovision(function, qualifier)

    def list_provisioned_concurrency_configs(self, call: Call) -> dict[str, Any]:
        function, _ = self.functions.resolve(call)
        configs = [
            {"FunctionArn": f"{function.arn}:{each.qualifier}", **describe(each)}
            for each in self.functions.concurrency.provisioned.of(function)
        ]
        return page(configs, call, "ProvisionedConcurrencyConfigs")

    def _config(self, function: Function, qualifier: str | None) -> Provisioned:
        function.version(qualifier)
        found = self.configuration(function, qualifier)
        if found is not None:
            return found
        raise AwsError(
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
            status=404,
            Type="User",
        )


def describe(place: Provisioned) -> dict[str, Any]:
    """A provisioned concurrency config as AWS describes it."""
    answer: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": place.requested,
        "AllocatedProvisionedConcurrentExecutions": min(place.requested, len(place.environments)),
        "AvailableProvisionedConcurrentExecutions": min(place.requested, len(place.environments)),
        "Status": place.status,
        "LastModified": place.modified,
    }
    if place.reason:
        answer["StatusReason"] = place.reason
    return answer
