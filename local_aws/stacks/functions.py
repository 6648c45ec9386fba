"""Lambda's kinds of resources."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from local_aws.stacks.kinds import Failed, Kind, Steps, Work, fit, gone, retag, text, until

# What of a function is its configuration, and what it is without.
CONFIGURATION: dict[str, Any] = {
    "Runtime": None, "Role": None, "Handler": None, "Description": "", "Timeout": 3, "MemorySize": 128,
    "Environment": {"Variables": {}}, "VpcConfig": {}, "Layers": [], "DeadLetterConfig": {}, "KMSKeyArn": "",
    "TracingConfig": {"Mode": "PassThrough"}, "FileSystemConfigs": [], "EphemeralStorage": {"Size": 512},
    "ImageConfig": {}, "SnapStart": {"ApplyOn": "None"}, "LoggingConfig": {},
}  # fmt: skip


class Function(Kind):
    type, service, creates = "AWS::Lambda::Function", "lambda", "CreateFunction"
    named, replacing = "FunctionName", frozenset({"FunctionName", "PackageType"})
    properties = frozenset({"Code", "ReservedConcurrentExecutions"})
    attributes = ("Arn",)

    def create(self, work: Work) -> Steps:
        name = self.name(work)
        members = self.members(work, "FunctionName")
        made = work.call(
            self.service,
            "CreateFunction",
            {**members, "FunctionName": name, "Code": _code(work), "Tags": work.all_tags()},
        )
        work.entry.id = name
        work.entry.attributes["Arn"] = made["FunctionArn"]
        yield from self._settled(work)
        if "ReservedConcurrentExecutions" in work.given:
            self._reserve(work)

    def update(self, work: Work) -> Steps:
        client, name = work.client(self.service), work.entry.id
        if work.changed("Code", "Architectures"):
            code = _code(work)
            if "Architectures" in work.given:
                code["Architectures"] = work.given["Architectures"]
            work.call(self.service, "UpdateFunctionCode", {"FunctionName": name, **code})
            yield from self._settled(work)
        if work.changed(*CONFIGURATION):
            changed = {each: work.given.get(each, CONFIGURATION[each]) for each in CONFIGURATION if work.changed(each)}
            work.call(self.service, "UpdateFunctionConfiguration", {"FunctionName": name, **changed})
            yield from self._settled(work)
        if work.changed("ReservedConcurrentExecutions"):
            if "ReservedConcurrentExecutions" in work.given:
                self._reserve(work)
            else:
                client.delete_function_concurrency(FunctionName=name)
        arn = work.entry.attributes["Arn"]
        add, remove = retag(client.list_tags(Resource=arn)["Tags"], work.all_tags())
        if add:
            client.tag_resource(Resource=arn, Tags=add)
        if remove:
            client.untag_resource(Resource=arn, TagKeys=remove)

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_function(FunctionName=work.entry.id))
        yield from ()

    def _reserve(self, work: Work) -> None:
        given = {"ReservedConcurrentExecutions": work.given["ReservedConcurrentExecutions"]}
        work.call(self.service, "PutFunctionConcurrency", {"FunctionName": work.entry.id, **given})

    def _settled(self, work: Work) -> Steps:
        def settled() -> bool:
            now = work.client(self.service).get_function_configuration(FunctionName=work.entry.id)
            if "Failed" in (now.get("State"), now.get("LastUpdateStatus")):
                raise Failed(now.get("StateReason") or now.get("LastUpdateStatusReason") or "The function failed.")
            return now.get("State", "Active") == "Active" and now.get("LastUpdateStatus", "Successful") == "Successful"

        yield from until(settled)


def _code(work: Work) -> dict[str, Any]:
    """The members of CreateFunction's Code: a template has a text where the operation takes a zip."""
    code = dict(work.given.get("Code") or {})
    source = code.pop("ZipFile", None)
    if source is not None:
        suffix = "js" if text(work.given.get("Runtime")).startswith("nodejs") else "py"
        file = io.BytesIO()
        # The same text is the same zip: without the time.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo(f"index.{suffix}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text(source))
        code["ZipFile"] = file.getvalue()
    return code


class Version(Kind):
    type, service, creates = "AWS::Lambda::Version", "lambda", "PublishVersion"
    properties = frozenset({"ProvisionedConcurrencyConfig"})
    replacing = frozenset({"FunctionName", "Description", "CodeSha256"})
    attributes = ("Version", "FunctionArn")

    def create(self, work: Work) -> Steps:
        made = work.call(self.service, "PublishVersion", self.members(work))
        work.entry.id = made["FunctionArn"]
        work.entry.attributes |= {"Version": made["Version"], "FunctionArn": made["FunctionArn"]}
        yield from _provision(work, made["Version"])

    def update(self, work: Work) -> Steps:
        yield from _provision(work, work.entry.attributes["Version"])

    def delete(self, work: Work) -> Steps:
        name, _, version = work.entry.id.rpartition(":")
        gone(lambda: work.client(self.service).delete_function(FunctionName=name, Qualifier=version))
        yield from ()


class Alias(Kind):
    type, service, creates = "AWS::Lambda::Alias", "lambda", "CreateAlias"
    named, replacing = "Name", frozenset({"Name", "FunctionName"})
    properties = frozenset({"ProvisionedConcurrencyConfig", "RoutingConfig"})
    attributes = ("AliasArn",)

    def create(self, work: Work) -> Steps:
        made = work.call(self.service, "CreateAlias", {**self.members(work), **self._routing(work)})
        work.entry.id = work.entry.attributes["AliasArn"] = made["AliasArn"]
        yield from _provision(work, made["Name"])

    def update(self, work: Work) -> Steps:
        members = {"Description": "", **self.members(work), **self._routing(work)}
        work.call(self.service, "UpdateAlias", members)
        yield from _provision(work, work.given["Name"])

    def delete(self, work: Work) -> Steps:
        arn, _, name = work.entry.id.rpartition(":")
        gone(lambda: work.client(self.service).delete_alias(FunctionName=arn, Name=name))
        yield from ()

    @staticmethod
    def _routing(work: Work) -> dict[str, Any]:
        """A template lists versions with weights; the operation maps them."""
        routing = work.given.get("RoutingConfig")
        if routing is None and not (work.before or {}).get("RoutingConfig"):
            return {}
        weights = (routing or {}).get("AdditionalVersionWeights") or []
        return {
            "RoutingConfig": {
                "AdditionalVersionWeights": {text(each["FunctionVersion"]): each["FunctionWeight"] for each in weights}
            }
        }


def _provision(work: Work, qualifier: str) -> Steps:
    """Provisioned concurrency as the template says, and wait until it is there."""
    client, given = work.client("lambda"), work.given.get("ProvisionedConcurrencyConfig")
    of = {"FunctionName": work.given["FunctionName"], "Qualifier": qualifier}
    if not given:
        if (work.before or {}).get("ProvisionedConcurrencyConfig"):
            gone(lambda: client.delete_provisioned_concurrency_config(**of))
        return
    work.call("lambda", "PutProvisionedConcurrencyConfig", {**of, **given})

    def ready() -> bool:
        now = client.get_provisioned_concurrency_config(**of)
        if now["Status"] == "FAILED":
            raise Failed(now.get("StatusReason", "The provisioned concurrency failed."))
        return now["Status"] == "READY"

    yield from until(ready)


class Permission(Kind):
    type, service, creates = "AWS::Lambda::Permission", "lambda", "AddPermission"
    replacing = frozenset({
        "Action", "FunctionName", "Principal", "SourceArn", "SourceAccount", "EventSourceToken", "PrincipalOrgID",
        "FunctionUrlAuthType", "InvokedViaFunctionUrl",
    })  # fmt: skip
    attributes = ("Id",)

    def create(self, work: Work) -> Steps:
        statement = self.name(work)
        work.call(self.service, "AddPermission", {**self.members(work), "StatementId": statement})
        work.entry.id = work.entry.attributes["Id"] = statement
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from ()

    def delete(self, work: Work) -> Steps:
        of = {"FunctionName": text(work.given["FunctionName"]), "StatementId": work.entry.id}
        gone(lambda: work.client(self.service).remove_permission(**of))
        yield from ()


class EventInvokeConfig(Kind):
    type, service, creates = "AWS::Lambda::EventInvokeConfig", "lambda", "PutFunctionEventInvokeConfig"
    replacing = frozenset({"FunctionName", "Qualifier"})

    def create(self, work: Work) -> Steps:
        members = self.members(work)
        if members.get("Qualifier") == "$LATEST":
            del members["Qualifier"]
        work.call(self.service, self.creates, members)
        work.entry.id = f"{work.given['FunctionName']}|{work.given.get('Qualifier', '$LATEST')}"
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from self.create(work)

    def delete(self, work: Work) -> Steps:
        shape = work.client(self.service).meta.service_model.operation_model("DeleteFunctionEventInvokeConfig")
        of = {name: work.given[name] for name in ("FunctionName", "Qualifier") if name in work.given}
        if of.get("Qualifier") == "$LATEST":
            del of["Qualifier"]
        gone(lambda: work.client(self.service).delete_function_event_invoke_config(**fit(of, shape.input_shape, "")))
        yield from ()


KINDS: list[Kind] = [Function(), Version(), Alias(), Permission(), EventInvokeConfig()]
