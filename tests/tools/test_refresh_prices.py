"""The price table is refreshed from AWS's answers; requests are judged by botocore's own model."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from tools import refresh_prices

ANSWERS = Path(__file__).with_name("price_list")
NOW = dt.datetime(2026, 11, 20, 21, 30, tzinfo=dt.UTC)
OLD = {"as_of": "2024", "source": "secondary: a public table"}
TABLE = {
    "region": "us-east-1",
    "currency": "USD",
    "date": "2024-01-01",
    "note": "A note – kept.",
    "sagemaker_per_hour": {"ml.m5.xlarge": {"usd": 0.23, **OLD}},
    "ec2_per_hour": {"t2.2xlarge": {"usd": 0.3712, **OLD}},
    "ec2_spot_per_hour": {"g4dn.xlarge": {"usd": 0.2, **OLD}},
    "ebs_gp3": {"per_gb_month": {"usd": 0.08, **OLD}},
    "lambda_x86": {
        "per_million_requests": {"usd": 0.2, **OLD},
        "per_gb_second": {"usd": 0.1, **OLD},
        "provisioned_per_gb_second": {"usd": 0.1, **OLD},
        "provisioned_duration_per_gb_second": {"usd": 0.0000097222, **OLD},
    },
    "cloudwatch": {"per_alarm_month": {"usd": 0.2, **OLD}},
    "s3_standard": {"per_gb_month": {"usd": 0.023, **OLD}},
}


def answer(name):
    return json.loads((ANSWERS / f"{name}.json").read_text())


def asked(service, **attributes):
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in attributes.items()]
    region = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-east-1"}
    return {"ServiceCode": service, "Filters": [*filters, region], "FormatVersion": "aws_v1"}


def on_sagemaker(use):
    attributes = {"productFamily": "ML Instance", "instanceName": "ml.m5.xlarge", "platoinstancetype": use}
    return asked("AmazonSageMaker", **attributes)


def on_ec2(name):
    return asked(
        "AmazonEC2", productFamily="Compute Instance", operatingSystem="Linux", tenancy="Shared",
        preInstalledSw="NA", capacitystatus="Used", instanceType=name,
    )  # fmt: skip


def of_lambda(group):
    return asked("AWSLambda", group=group)


NOTHING = {"FormatVersion": "aws_v1", "PriceList": []}
CONVERSATION = [
    (on_sagemaker("Training"), "sagemaker_training"),
    (on_sagemaker("Hosting"), "sagemaker_hosting"),
    (on_ec2("t2.2xlarge"), None),
    (on_ec2("m5.xlarge"), "ec2"),
    (asked("AmazonEC2", productFamily="Storage", volumeApiName="gp3"), "ebs"),
    (of_lambda("AWS-Lambda-Requests"), "lambda_requests"),
    (of_lambda("AWS-Lambda-Duration"), "lambda_duration"),
    (of_lambda("AWS-Lambda-Provisioned-Concurrency"), "lambda_provisioned"),
    (of_lambda("AWS-Lambda-Duration-Provisioned"), None),
    (asked("AmazonCloudWatch", productFamily="Alarm", alarmType="Standard"), "alarm"),
    (asked("AmazonS3", productFamily="Storage", storageClass="General Purpose", volumeType="Standard"), "s3"),
]
HISTORY = {
    "InstanceTypes": ["t2.2xlarge", "m5.xlarge"],
    "ProductDescriptions": ["Linux/UNIX"],
    "StartTime": NOW,
    "EndTime": NOW,
}


@pytest.fixture
def aws():
    """Clients of `pricing` and `ec2` that take and give what the test says, with their stubs."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    clients = boto3.client("pricing", **keys), boto3.client("ec2", **keys)
    stubs = [Stubber(client) for client in clients]
    for stub in stubs:
        stub.activate()
    yield *clients, *stubs
    for stub in stubs:
        stub.deactivate()


@pytest.fixture
def conversation(aws):
    """Clients that answer the whole conversation about TABLE."""
    pricing, ec2, prices, spot = aws
    for request, name in CONVERSATION:
        prices.add_response("get_products", answer(name) if name else NOTHING, request)
    history = answer("spot")
    for each in history["SpotPriceHistory"]:
        each["Timestamp"] = dt.datetime.fromisoformat(each["Timestamp"])
    spot.add_response("describe_spot_price_history", history, HISTORY)
    yield pricing, ec2
    prices.assert_no_pending_responses()
    spot.assert_no_pending_responses()


def test_what_aws_answers_is_taken_with_its_date_and_source(conversation):
    table, changed, _ = refresh_prices.refreshed(TABLE, *conversation, NOW)

    assert table["sagemaker_per_hour"]["ml.m5.xlarge"] == {
        "usd": 0.24,
        "as_of": "2026-11-20",
        "source": "AWS Price List API, FIXTUREHOSTING01 and FIXTURETRAINING1",
    }
    # The price of a million requests, of the first tier, and of nothing that is free.
    assert table["lambda_x86"]["per_million_requests"]["usd"] == 0.2
    assert table["lambda_x86"]["per_gb_second"]["usd"] == 0.0000166667
    assert table["lambda_x86"]["provisioned_per_gb_second"]["usd"] == 0.0000041667
    assert table["cloudwatch"]["per_alarm_month"]["usd"] == 0.1
    assert table["s3_standard"]["per_gb_month"]["usd"] == 0.023
    assert table["ebs_gp3"]["per_gb_month"]["source"] == "AWS Price List API, FIXTUREEBS000001"
    # EC2's price for the size of a SageMaker type joins the table; the Spot price is the mean of two zones.
    assert table["ec2_per_hour"]["m5.xlarge"]["usd"] == 0.192
    assert table["ec2_spot_per_hour"]["m5.xlarge"] == {
        "usd": 0.065,
        "as_of": "2026-11-20",
        "source": "EC2 DescribeSpotPriceHistory at 21:30 UTC, mean of 2 zones; it changes",
    }
    assert (table["date"], table["note"]) == ("2026-11-20", "A note – kept.")
    assert "ml.m5.xlarge (sagemaker_per_hour): 0.23 -> 0.24" in changed
    assert "m5.xlarge (ec2_per_hour): new -> 0.192" in changed
    assert not any(line.startswith("per_million_requests") for line in changed)


def test_what_aws_does_not_answer_is_kept_and_named(conversation):
    table, _, kept = refresh_prices.refreshed(TABLE, *conversation, NOW)

    assert table["ec2_per_hour"]["t2.2xlarge"] == TABLE["ec2_per_hour"]["t2.2xlarge"]
    assert table["ec2_spot_per_hour"]["g4dn.xlarge"] == TABLE["ec2_spot_per_hour"]["g4dn.xlarge"]
    assert kept == [
        "t2.2xlarge (ec2_per_hour): the API has no price",
        "provisioned_duration_per_gb_second (lambda_x86): the API has no price",
        "g4dn.xlarge (ec2_spot_per_hour): EC2 has no price",
    ]


def test_prices_that_differ_are_not_chosen_from():
    assert refresh_prices.entry({"A": 0.1, "B": 0.2}, "2026-11-20") is None
    assert refresh_prices.entry({}, "2026-11-20") is None
    assert refresh_prices.entry({"A": 0.1, "B": 0.1}, "2026-11-20")["usd"] == 0.1


def test_without_the_right_to_see_spot_prices_they_are_kept(aws):
    pricing, ec2, prices, spot = aws
    for _ in CONVERSATION:
        prices.add_response("get_products", NOTHING)
    spot.add_client_error("describe_spot_price_history", "UnauthorizedOperation", "You are not authorized.", 403)

    table, changed, kept = refresh_prices.refreshed(TABLE, pricing, ec2, NOW)

    assert table["ec2_spot_per_hour"] == TABLE["ec2_spot_per_hour"]
    assert changed == []
    assert "UnauthorizedOperation" in kept[-1]


def test_a_refused_call_is_one_sentence(aws):
    pricing, ec2, prices, _ = aws
    prices.add_client_error("get_products", "AccessDeniedException", "You may not.", 400)
    with pytest.raises(refresh_prices.NoPrices, match=r"cannot be asked: .*AccessDeniedException.*You may not"):
        refresh_prices.refreshed(TABLE, pricing, ec2, NOW)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(refresh_prices.text(TABLE))
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("error", [NoCredentialsError(), EndpointConnectionError(endpoint_url="https://api.pricing")])
def test_without_credentials_or_network_the_file_is_untouched(file, error, monkeypatch, capsys):
    class Pricing:
        def get_paginator(self, operation):
            raise error

    monkeypatch.setattr(boto3, "client", lambda service, **more: Pricing())
    before = file.read_bytes()

    assert refresh_prices.main([str(file)]) == 1

    assert file.read_bytes() == before
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "The AWS Price List API cannot be asked" in said
    assert f"{file} is as it was." in said
    assert "Traceback" not in said


def test_the_file_is_replaced_at_once_and_keeps_its_mode(file, conversation, monkeypatch, capsys):
    class Now(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    clients = dict(zip(("pricing", "ec2"), conversation, strict=True))
    monkeypatch.setattr(boto3, "client", lambda service, **more: clients[service])
    monkeypatch.setattr(refresh_prices.dt, "datetime", Now)

    assert refresh_prices.main([str(file)]) == 0

    assert json.loads(file.read_text())["sagemaker_per_hour"]["ml.m5.xlarge"]["usd"] == 0.24
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["prices.json"]
    assert "Kept: t2.2xlarge (ec2_per_hour): the API has no price" in capsys.readouterr().out


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    before = file.read_bytes()

    def fail(*_):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        refresh_prices.write(file, "{}")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["prices.json"]


def test_the_repository_s_own_table_is_laid_out_as_the_tool_would():
    content = refresh_prices.TABLE.read_text()
    assert refresh_prices.text(json.loads(content)) == content


@pytest.mark.aws
@pytest.mark.skipif(os.environ.get("MUSHER_TEST_AWS") != "1", reason="asks AWS itself: set MUSHER_TEST_AWS=1")
def test_aws_itself_answers_every_question():
    table = json.loads(refresh_prices.TABLE.read_text())
    pricing = boto3.client("pricing", region_name=refresh_prices.PRICING_REGION)
    ec2 = boto3.client("ec2", region_name=table["region"])
    _, _, kept = refresh_prices.refreshed(table, pricing, ec2, dt.datetime.now(dt.UTC))
    assert kept == []
