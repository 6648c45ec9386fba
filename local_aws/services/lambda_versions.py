"""Lambda's operations on versions and aliases."""

from __future__ import annotations

import uuid
from typing import Any

from local_aws.errors import AwsError
from local_aws.functions.code import invalid
from local_aws.functions.records import LATEST, Alias, conflict, not_found
from local_aws.services.base import Call, Service
from local_aws.services.lambda_ import Lambda, page


class LambdaVersions(Service):
    """Published versions of functions, and names for them."""

    name = "lambda"

    @property
    def _functions(self) -> Lambda:
        return self.aws.service(Lambda)

    def publish_version(self, call: Call) -> dict[str, Any]:
        function, _ = self._functions.resolve(call)
        with self._functions.lock:
            self._functions.check_update(function, call)
            expected = call.params.get("CodeSha256")
            if expected and expected != function.latest.code.sha256:
                raise invalid(
                    f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST "
                    f"({function.latest.code.sha256})."
                )
            return self._functions.publish(function, call.params.get("Description")).describe()

    def list_versions_by_function(self, call: Call) -> dict[str, Any]:
        function, _ = self._functions.resolve(call)
        return page([each.describe(qualified=True) for each in function.versions.values()], call, "Versions")

    def create_alias(self, call: Call) -> dict[str, Any]:
        function, _ = self._functions.resolve(call)
        params = call.params
        if params["Name"].isdigit():
            raise invalid(f"The alias name {params['Name']!r} must not be a number alone: that would name a version.")
        with self._functions.lock:
            if params["Name"] in function.aliases:
                raise conflict(f"Alias already exists: {function.arn}:{params['Name']}")
            alias = Alias(function, params["Name"], params["FunctionVersion"], params.get("Description") or "")
            self._point(alias, params["FunctionVersion"], params.get("RoutingConfig"))
            function.aliases[alias.name] = alias
        return alias.describe()

    def get_alias(self, call: Call) -> dict[str, Any]:
        return self._alias(call).describe()

    def update_alias(self, call: Call) -> dict[str, Any]:
        with self._functions.lock:
            alias, params = self._alias(call), call.params
            self._functions.check_revision(call, alias.revision)
            self._refuse_both(alias, params.get("FunctionVersion") or alias.version)
            self._point(alias, params.get("FunctionVersion") or alias.version, params.get("RoutingConfig"))
            alias.description = params.get("Description", alias.description)
            alias.revision = uuid.uuid4().hex
        self._functions.concurrency.provisioned.move(alias.function, alias.name, alias.function.versions[alias.version])
        return alias.describe()

    def delete_alias(self, call: Call) -> None:
        """With its provisioned concurrency, as `Lambda.delete_function` deletes that of a version."""
        function, _ = self._functions.resolve(call)
        with self._functions.lock:
            function.aliases.pop(call.params["Name"], None)
        self._functions.concurrency.provisioned.end((function.name, call.params["Name"]))

    def list_aliases(self, call: Call) -> dict[str, Any]:
        function, _ = self._functions.resolve(call)
        version = call.params.get("FunctionVersion")
        aliases = [each.describe() for each in function.aliases.values() if version in (None, each.version)]
        return page(aliases, call, "Aliases")

    def _alias(self, call: Call) -> Alias:
        function, _ = self._functions.resolve(call)
        alias = function.aliases.get(call.params["Name"])
        if alias is None:
            arn = f"{function.arn}:{call.params['Name']}"
            raise AwsError("ResourceNotFoundException", f"Cannot find alias arn: {arn}", status=404, Type="User")
        return alias

    def _refuse_both(self, alias: Alias, number: str) -> None:
        """AWS keeps no environments ready for an alias and for the version that it names: one of them has them."""
        provisioned = {each.qualifier for each in self._functions.concurrency.provisioned.of(alias.function)}
        if {alias.name, number} <= provisioned:
            raise invalid(
                f"Provisioned Concurrency is configured on the alias {alias.name} and on the version {number}, which "
                "it would name: configure it on one of them."
            )

    def _point(self, alias: Alias, number: str, routing: dict[str, Any] | None) -> None:
        weights = (routing or {}).get("AdditionalVersionWeights") or {} if routing is not None else alias.weights
        if weights and any(
            each.qualifier == alias.name for each in self._functions.concurrency.provisioned.of(alias.function)
        ):
            raise invalid("Alias with weights can not be used with Provisioned Concurrency")  # AWS's own words
        for each in (number, *weights):
            if each not in alias.function.versions:
                raise not_found(f"{alias.function.arn}:{each}")
        if weights and (len(weights) > 1 or LATEST in (number, *weights) or number in weights):
            raise invalid(
                "Invalid routing configuration: an alias may name one more published version, with its weight."
            )
        alias.version, alias.weights = number, dict(weights)
