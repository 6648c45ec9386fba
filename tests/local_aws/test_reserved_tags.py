"""Tags whose keys begin with aws: are AWS's own: no service takes one from a caller."""

from __future__ import annotations

import pytest

from local_aws.errors import AwsError
from local_aws.pipeline import tags
from local_aws.pipeline.directory import operation
from tests.local_aws.ec2_hosts import refusal

OWN = [{"Key": "aws:a", "Value": "1"}]
MAP = {"AWS:a": "1"}


@pytest.mark.parametrize(
    ("service", "name", "params", "code"),
    [
        ("iam", "TagRole", {"Tags": OWN}, "InvalidInput"),
        ("iam", "CreatePolicy", {"Tags": OWN}, "InvalidInput"),
        ("lambda", "CreateFunction", {"Tags": MAP}, "InvalidParameterValueException"),
        ("sqs", "CreateQueue", {"tags": MAP}, "InvalidParameterValue"),
        ("logs", "CreateLogGroup", {"tags": MAP}, "InvalidParameterException"),
        ("s3", "PutBucketTagging", {"Tagging": {"TagSet": OWN}}, "InvalidTag"),
        ("kms", "CreateKey", {"Tags": [{"TagKey": "aws:a", "TagValue": "1"}]}, "TagException"),
        ("budgets", "CreateBudget", {"ResourceTags": OWN}, "InvalidParameterException"),
        ("ec2", "CreateSecurityGroup", {"TagSpecifications": [{"Tags": [{"Key": "a", "Value": ""}, *OWN]}]},
         "InvalidParameterValue"),
        ("sts", "AssumeRole", {"Tags": OWN}, "ValidationError"),
        ("cloudformation", "CreateStack", {"Tags": OWN}, "ValidationError"),
    ],
)  # fmt: skip
def test_they_are_refused_wherever_tags_are_set(service, name, params, code):
    refuse = tags.refusing(operation(service, name), service)
    with pytest.raises(AwsError, match=r"aws:|System tags") as caught:
        refuse(params)
    assert caught.value.code == code


def test_what_sets_no_tags_is_let_alone():
    for service, name in (("iam", "UntagRole"), ("ec2", "DescribeTags"), ("sqs", "SendMessage"), ("iam", "GetRole")):
        assert tags.refusing(operation(service, name), service) is None
    # What is no tag has a key, too, and another tag may say anything.
    for service, name, params in (
        ("ssm", "PutParameter", {"Name": "aws:a", "Tags": [{"Key": "paws:a", "Value": "aws:"}]}),
        ("lambda", "CreateFunction", {"Environment": {"Variables": {"aws:a": "1"}}}),
    ):
        tags.refusing(operation(service, name), service)(params)


def test_the_services_say_so(local_aws):
    trust = '{"Version": "2012-10-17", "Statement": []}'
    iam, sns = local_aws.client("iam"), local_aws.client("sns")
    code, message = refusal(iam.create_role, RoleName="of-aws", AssumeRolePolicyDocument=trust, Tags=OWN)
    assert (code, "aws: prefixed tag key names are not allowed" in message) == ("InvalidInput", True)
    assert refusal(sns.create_topic, Name="of-aws", Tags=OWN)[0] == "InvalidParameter"
    assert "of-aws" not in {each["RoleName"] for each in iam.list_roles()["Roles"]}
