"""Refresh the price table from AWS's own prices: `make prices`, or `python -m tools.refresh_prices [FILE]`.

On-demand prices come from the AWS Price List API, Spot prices from EC2's price history. What AWS does not answer keeps
its entry, and is named. Without credentials or a network nothing is written. Needs `pricing:GetProducts` and
`ec2:DescribeSpotPriceHistory`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TABLE = Path(__file__).parents[1] / "plugins/musher/costs/prices.json"

# The Price List API answers for every region, from a few. Source: AWS Billing user guide, "Using the AWS Price List
# Query API", endpoints.
PRICING_REGION = "us-east-1"

ON_DEMAND, SPOT = "ec2_per_hour", "ec2_spot_per_hour"
SAGEMAKER = "sagemaker_per_hour"

# What the Price List calls the parts of Lambda (x86): the attribute `group`, and how many units our price is for.
LAMBDA = {
    "per_million_requests": ("AWS-Lambda-Requests", 1_000_000),
    "per_gb_second": ("AWS-Lambda-Duration", 1),
    "provisioned_per_gb_second": ("AWS-Lambda-Provisioned-Concurrency", 1),
    "provisioned_duration_per_gb_second": ("AWS-Lambda-Duration-Provisioned", 1),
}
LINUX = {
    "productFamily": "Compute Instance",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}


class NoPrices(Exception):
    """AWS could not be asked; the message is one sentence for the person who asked."""


@dataclass(frozen=True)
class Question:
    """One price to ask for: where it stands in the table, and what the Price List knows it by."""

    group: str
    name: str
    service: str
    attributes: Mapping[str, str]
    units: int = 1

    def filters(self, region: str) -> list[dict[str, str]]:
        """The `Filters` of GetProducts."""
        wanted = {**self.attributes, "regionCode": region}
        return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]


def questions(table: Mapping[str, Any]) -> list[Question]:
    """Everything in the table but Spot prices, and EC2's price for the size of every SageMaker type."""
    asked = []
    for name in table[SAGEMAKER]:
        for use in ("Training", "Hosting"):
            attributes = {"productFamily": "ML Instance", "instanceName": name, "platoinstancetype": use}
            asked.append(Question(SAGEMAKER, name, "AmazonSageMaker", attributes))
    for name in ec2_types(table):
        asked.append(Question(ON_DEMAND, name, "AmazonEC2", {**LINUX, "instanceType": name}))
    asked.append(Question("ebs_gp3", "per_gb_month", "AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp3"}))
    for name, (group, units) in LAMBDA.items():
        asked.append(Question("lambda_x86", name, "AWSLambda", {"group": group}, units))
    alarm = {"productFamily": "Alarm", "alarmType": "Standard"}
    asked.append(Question("cloudwatch", "per_alarm_month", "AmazonCloudWatch", alarm))
    standard = {"productFamily": "Storage", "storageClass": "General Purpose", "volumeType": "Standard"}
    asked.append(Question("s3_standard", "per_gb_month", "AmazonS3", standard))
    return asked


def ec2_types(table: Mapping[str, Any]) -> list[str]:
    """EC2 types of the table, and those of the same size as its SageMaker types."""
    return list(dict.fromkeys([*table[ON_DEMAND], *(name.removeprefix("ml.") for name in table[SAGEMAKER])]))


def products(pricing: Any, question: Question, region: str) -> dict[str, float]:
    """USD by SKU of what the Price List has for a question: the first tier, without what is free."""
    found = {}
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode=question.service, Filters=question.filters(region), FormatVersion="aws_v1"
    )
    for page in pages:
        for text in page["PriceList"]:
            product = json.loads(text)
            for term in product.get("terms", {}).get("OnDemand", {}).values():
                for dimension in term["priceDimensions"].values():
                    usd = float(dimension["pricePerUnit"].get("USD", 0)) * question.units
                    if usd > 0 and float(dimension.get("beginRange") or 0) == 0:
                        found[product["product"]["sku"]] = usd
    return found


def entry(found: Mapping[str, float], today: str) -> dict[str, Any] | None:
    """The table's entry for what the Price List answered; None for none, or for several that differ."""
    prices = {round(usd, 12) for usd in found.values()}
    if len(prices) != 1:
        return None
    return {"usd": prices.pop(), "as_of": today, "source": f"AWS Price List API, {' and '.join(sorted(found))}"}


def spot_prices(ec2: Any, types: Sequence[str], now: dt.datetime) -> dict[str, dict[str, Any]]:
    """The Spot prices of this moment by type: the mean of the region's zones."""
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(types), ProductDescriptions=["Linux/UNIX"], StartTime=now, EndTime=now
    )
    by_type: dict[str, dict[str, float]] = {}
    for page in pages:
        for price in page["SpotPriceHistory"]:
            by_type.setdefault(price["InstanceType"], {})[price["AvailabilityZone"]] = float(price["SpotPrice"])
    return {
        name: {
            "usd": round(fmean(zones.values()), 6),
            "as_of": now.date().isoformat(),
            "source": f"EC2 DescribeSpotPriceHistory at {now:%H:%M} UTC, mean of {len(zones)} zones; it changes",
        }
        for name, zones in by_type.items()
    }


def refreshed(
    table: Mapping[str, Any], pricing: Any, ec2: Any, now: dt.datetime
) -> tuple[dict[str, Any], list[str], list[str]]:
    """The table with AWS's answers, what changed, and what was kept with the reason.

    Raises NoPrices when AWS cannot be asked at all.
    """
    new = {name: dict(group) if isinstance(group, Mapping) else group for name, group in table.items()}
    changed, kept = [], []

    def take(group: str, name: str, answer: Mapping[str, Any]) -> None:
        before = table[group].get(name, {}).get("usd")
        if before != answer["usd"]:
            changed.append(f"{name} ({group}): {before if before is not None else 'new'} -> {answer['usd']}")
        new[group][name] = dict(answer)

    answers: dict[tuple[str, str], dict[str, float]] = {}
    for question in questions(table):
        try:
            found = products(pricing, question, table["region"])
        except (BotoCoreError, ClientError) as error:
            raise NoPrices(f"The AWS Price List API cannot be asked: {error}") from None
        answers.setdefault((question.group, question.name), {}).update(found)
    for (group, name), found in answers.items():
        answer = entry(found, now.date().isoformat())
        if answer:
            take(group, name, answer)
        elif found:
            prices = ", ".join(f"{usd:g} ({sku})" for sku, usd in found.items())
            kept.append(f"{name} ({group}): the API has several prices, {prices}")
        elif name in table[group]:
            kept.append(f"{name} ({group}): the API has no price")
    try:
        spot = spot_prices(ec2, ec2_types(table), now)
    except (BotoCoreError, ClientError) as error:
        spot = {}
        kept.append(f"every Spot price: {error}")
    else:
        kept += [f"{name} ({SPOT}): EC2 has no price" for name in table[SPOT] if name not in spot]
    for name, answer in spot.items():
        take(SPOT, name, answer)
    return {**new, "date": now.date().isoformat()}, changed, kept


def text(table: Mapping[str, Any]) -> str:
    """The table as it is kept in the repository: one entry on a line, no number with an exponent."""
    lines = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            entries = [f"    {json.dumps(key)}: {_entry(each)}" for key, each in value.items()]
            lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(entries) + "\n  }")
        else:
            lines.append(f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _entry(fields: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {_value(value)}" for name, value in fields.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".")
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, content: str) -> None:
    """Replace a file at once, so that nobody ever reads half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        os.chmod(name, path.stat().st_mode & 0o777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Refresh the price table from AWS's own prices.")
    parser.add_argument("file", nargs="?", type=Path, default=TABLE)
    path = parser.parse_args(arguments).file
    try:
        table = json.loads(path.read_text())
        config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "max_attempts": 5})
        pricing = boto3.client("pricing", region_name=PRICING_REGION, config=config)
        ec2 = boto3.client("ec2", region_name=table["region"], config=config)
        new, changed, kept = refreshed(table, pricing, ec2, dt.datetime.now(dt.UTC))
    except (NoPrices, BotoCoreError) as error:
        print(f"{str(error).rstrip('.')}. {path} is as it was.", file=sys.stderr)
        return 1
    write(path, text(new))
    for line in changed:
        print(line)
    for line in kept:
        print(f"Kept: {line}")
    print(f"{path} has the prices of {new['date']}: {len(changed)} changed, {len(kept)} kept.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
