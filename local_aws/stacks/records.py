"""Kinds that moto keeps and its CloudFormation does not make, or not wholly; and stacks in stacks."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from local_aws.stacks.kinds import Failed, Kind, Steps, Work, gone, is_missing, retag, tag_list, text, until


class LogGroup(Kind):
    type, service = "AWS::Logs::LogGroup", "logs"
    named, longest = "LogGroupName", 512
    properties = frozenset({"RetentionInDays", "KmsKeyId"})
    replacing = frozenset({"LogGroupName"})
    attributes = ("Arn",)

    def create(self, work: Work) -> Steps:
        name = self.name(work)
        members = {"logGroupName": name, **({"kmsKeyId": work.given["KmsKeyId"]} if "KmsKeyId" in work.given else {})}
        if work.all_tags():
            members["tags"] = work.all_tags()
        work.call(self.service, "CreateLogGroup", members)
        work.entry.id = name
        work.entry.attributes["Arn"] = f"arn:aws:logs:{work.region}:{work.account}:log-group:{name}:*"
        self._keep(work)
        yield from ()

    def update(self, work: Work) -> Steps:
        client, name = work.client(self.service), work.entry.id
        if work.changed("KmsKeyId"):
            raise Failed("The local AWS does not change KmsKeyId of a log group.")
        self._keep(work)
        add, remove = retag(client.list_tags_log_group(logGroupName=name)["tags"], work.all_tags())
        if add:
            client.tag_log_group(logGroupName=name, tags=add)
        if remove:
            client.untag_log_group(logGroupName=name, tags=remove)
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_log_group(logGroupName=work.entry.id))
        yield from ()

    def _keep(self, work: Work) -> None:
        days = work.given.get("RetentionInDays")
        if days is not None:
            work.call(self.service, "PutRetentionPolicy", {"logGroupName": work.entry.id, "retentionInDays": days})
        elif work.before and work.before.get("RetentionInDays"):
            work.client(self.service).delete_retention_policy(logGroupName=work.entry.id)


class TopicPolicy(Kind):
    type, service = "AWS::SNS::TopicPolicy", "sns"
    properties = frozenset({"Topics", "PolicyDocument"})
    attributes = ("Id",)

    def create(self, work: Work) -> Steps:
        policy = json.dumps(work.given["PolicyDocument"])
        for topic in work.given["Topics"]:
            work.client(self.service).set_topic_attributes(
                TopicArn=topic, AttributeName="Policy", AttributeValue=policy
            )
        work.entry.id = work.entry.attributes["Id"] = self.name(work)
        yield from ()

    def update(self, work: Work) -> Steps:
        self._forget(work, [each for each in work.before["Topics"] if each not in work.given["Topics"]])
        yield from self.create(work)

    def delete(self, work: Work) -> Steps:
        self._forget(work, work.given["Topics"])
        yield from ()

    @staticmethod
    def _forget(work: Work, topics: list[str]) -> None:
        """A topic without a policy of its own has the one that SNS gives a new one."""
        for topic in topics:
            owner = {"StringEquals": {"AWS:SourceOwner": work.account}}
            actions = ["GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic",
                       "Subscribe", "ListSubscriptionsByTopic", "Publish"]  # fmt: skip
            statement = {
                "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": {"AWS": "*"}, "Resource": topic,
                "Action": [f"SNS:{each}" for each in actions], "Condition": owner,
            }  # fmt: skip
            policy = json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})
            try:
                work.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
            except ClientError as error:
                if not is_missing(error):
                    raise


class Budget(Kind):
    type, service = "AWS::Budgets::Budget", "budgets"
    properties = frozenset({"Budget", "NotificationsWithSubscribers"})
    replacing = frozenset({"NotificationsWithSubscribers"})

    def create(self, work: Work) -> Steps:
        budget = dict(work.given["Budget"])
        work.entry.name = budget["BudgetName"] = str(budget.get("BudgetName") or self.name(work))
        members = {"AccountId": work.account, "Budget": _budget(budget)}
        if "NotificationsWithSubscribers" in work.given:
            members["NotificationsWithSubscribers"] = work.given["NotificationsWithSubscribers"]
        work.call(self.service, "CreateBudget", members)
        work.entry.id = budget["BudgetName"]
        yield from ()

    def update(self, work: Work) -> Steps:
        # Moto has no UpdateBudget.
        yield from self.delete(work)
        yield from self.create(work)

    def delete(self, work: Work) -> Steps:
        of = {"AccountId": work.account, "BudgetName": work.entry.id}
        gone(lambda: work.client(self.service).delete_budget(**of))
        yield from ()


def _budget(given: dict[str, Any]) -> dict[str, Any]:
    """A template's cost filters are a document, the operation's a map."""
    filters = given.get("CostFilters")
    if isinstance(filters, dict):
        lists = {name: each if isinstance(each, list) else [each] for name, each in filters.items()}
        given = {**given, "CostFilters": lists}
    return given


class Secret(Kind):
    type, service, creates = "AWS::SecretsManager::Secret", "secretsmanager", "CreateSecret"
    named, longest = "Name", 512
    properties = frozenset({"GenerateSecretString"})
    replacing = frozenset({"Name"})
    attributes = ("Id",)

    def create(self, work: Work) -> Steps:
        members = {**self.members(work), "Name": self.name(work)}
        if "GenerateSecretString" in work.given:
            members["SecretString"] = self._generated(work)
        if tags := work.tag_list():
            members["Tags"] = tags
        made = work.call(self.service, "CreateSecret", members)
        work.entry.id = work.entry.attributes["Id"] = made["ARN"]
        yield from ()

    def update(self, work: Work) -> Steps:
        members = {"SecretId": work.entry.id, **{n: v for n, v in self.members(work).items() if n != "Name"}}
        if work.changed("GenerateSecretString") and "GenerateSecretString" in work.given:
            members["SecretString"] = self._generated(work)
        if len(members) > 1:
            work.call(self.service, "UpdateSecret", members)
        client = work.client(self.service)
        there = {each["Key"]: each["Value"] for each in client.describe_secret(SecretId=work.entry.id).get("Tags", ())}
        add, remove = retag(there, work.all_tags())
        if add:
            client.tag_resource(SecretId=work.entry.id, Tags=tag_list(add))
        if remove:
            client.untag_resource(SecretId=work.entry.id, TagKeys=remove)
        yield from ()

    def delete(self, work: Work) -> Steps:
        # A stack's end is the secret's, without the days of recovery.
        client = work.client(self.service)
        gone(lambda: client.delete_secret(SecretId=work.entry.id, ForceDeleteWithoutRecovery=True))
        yield from ()

    @staticmethod
    def _generated(work: Work) -> str:
        given = dict(work.given["GenerateSecretString"])
        key, template = given.pop("GenerateStringKey", None), given.pop("SecretStringTemplate", None)
        password = work.call("secretsmanager", "GetRandomPassword", given)["RandomPassword"]
        return json.dumps({**json.loads(template), key: password}) if key and template else password


class Nested(Kind):
    """A stack in a stack."""

    type, service = "AWS::CloudFormation::Stack", "cloudformation"
    properties = frozenset({"TemplateURL", "Parameters"})

    def has(self, attribute: str) -> bool:
        return attribute.startswith("Outputs.")

    def create(self, work: Work) -> Steps:
        made = work.client(self.service).create_stack(
            StackName=self.name(work), **self._request(work), OnFailure="ROLLBACK"
        )
        work.entry.id = made["StackId"]
        yield from self._settled(work, "CREATE_COMPLETE")

    def update(self, work: Work) -> Steps:
        try:
            work.client(self.service).update_stack(StackName=work.entry.id, **self._request(work))
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            return
        yield from self._settled(work, "UPDATE_COMPLETE")

    def delete(self, work: Work) -> Steps:
        client = work.client(self.service)
        gone(lambda: client.delete_stack(StackName=work.entry.id))

        def deleted() -> bool:
            try:
                now = client.describe_stacks(StackName=work.entry.id)["Stacks"][0]
            except ClientError as error:
                return is_missing(error)
            if now["StackStatus"] == "DELETE_FAILED":
                raise Failed(now.get("StackStatusReason", "The stack could not be deleted."))
            return now["StackStatus"] == "DELETE_COMPLETE"

        yield from until(deleted)

    @staticmethod
    def _request(work: Work) -> dict[str, Any]:
        values = {
            name: ",".join(map(text, value)) if isinstance(value, list) else text(value)
            for name, value in (work.given.get("Parameters") or {}).items()
        }
        return {
            "TemplateURL": text(work.given["TemplateURL"]),
            "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            "Tags": work.tag_list(),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        }

    def _settled(self, work: Work, well: str) -> Steps:
        def settled() -> bool:
            now = work.client(self.service).describe_stacks(StackName=work.entry.id)["Stacks"][0]
            if now["StackStatus"].endswith("_IN_PROGRESS"):
                return False
            if now["StackStatus"] != well:
                why = now.get("StackStatusReason", now["StackStatus"])
                raise Failed(f"Embedded stack {work.entry.id} was not successfully created: {why}")
            outputs = {f"Outputs.{each['OutputKey']}": each["OutputValue"] for each in now.get("Outputs", ())}
            work.entry.attributes = outputs
            return True

        yield from until(settled)


KINDS: list[Kind] = [LogGroup(), TopicPolicy(), Budget(), Secret(), Nested()]
