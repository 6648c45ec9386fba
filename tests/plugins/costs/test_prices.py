import json
import re

import pytest
from musher.config import DeploymentConfig, TrainingConfig
from musher.costs import prices
from musher.errors import ConfigError
from musher.record import Ec2Instance

pytestmark = pytest.mark.usefixtures("fixed_prices")


def test_training_is_billed_per_instance_and_second():
    # ml.m5.xlarge: 0.23 USD/h. 1,339 s on one: 0.23 x 1339 / 3600 = 0.0855; 900 s on four: 0.23 x 4 x 0.25 = 0.23.
    assert prices.training_cost("ml.m5.xlarge", 1339) == pytest.approx(0.085547, abs=1e-6)
    assert prices.training_cost("ml.m5.xlarge", 900, instances=4) == pytest.approx(0.23)
    assert prices.training_cost("ml.m5.xlarge", 0) == 0


def test_an_endpoint_is_billed_while_it_stands():
    # ml.m5.large: 0.115 USD/h; 730 hours a month: 83.95; two for half an hour: 0.115.
    assert prices.endpoint_cost("ml.m5.large") == pytest.approx(0.115)
    assert prices.endpoint_month("ml.m5.large") == pytest.approx(83.95)
    assert prices.endpoint_cost("ml.m5.large", hours=0.5, instances=2) == pytest.approx(0.115)


def test_a_busy_endpoint_makes_a_prediction_cheap():
    # 10 requests/s are 36,000 an hour: 0.115 / 36 = 0.003194 USD per 1,000.
    assert prices.endpoint_per_1000("ml.m5.large", 10) == pytest.approx(0.0031944, abs=1e-7)
    with pytest.raises(ValueError, match="above 0"):
        prices.endpoint_per_1000("ml.m5.large", 0)


def test_a_function_is_billed_by_call_and_gigabyte_second():
    # 256 MB for 100 ms: 0.025 GB-s a call. 1,000 calls: 0.0002 + 25 x 0.0000166667 = 0.000616668 USD.
    assert prices.lambda_per_1000(100, 256) == pytest.approx(0.0006166675, abs=1e-10)


def test_provisioned_environments_are_paid_for_while_they_wait():
    # Two of 256 MB for an hour: 0.5 GB x 3600 s x 0.0000041667 = 0.00750006 USD.
    assert prices.provisioned_cost(256, 2) == pytest.approx(0.00750006, abs=1e-9)
    # At 10 calls/s 1,000 calls take 100 s: 0.5 x 100 x 0.0000041667 = 0.000208335 for waiting,
    # 25 GB-s x 0.0000097222 = 0.000243055 for running, 0.0002 for the requests.
    cost = prices.lambda_per_1000_provisioned(100, 256, provisioned=2, calls_per_second=10)
    assert cost == pytest.approx(0.00065139, abs=1e-9)
    # Hardly called, they cost far more than calls without them.
    rare = prices.lambda_per_1000_provisioned(100, 256, provisioned=2, calls_per_second=0.01)
    assert rare > 100 * prices.lambda_per_1000(100, 256)
    with pytest.raises(ValueError, match="above 0"):
        prices.lambda_per_1000_provisioned(100, 256, provisioned=2, calls_per_second=0)


def test_storage_and_ec2():
    # 1 GiB: 0.023 USD a month. t3.medium for 27 minutes: 0.0416 x 27 / 60 = 0.01872; 10 s are billed as 60.
    assert prices.storage_month(2**30) == pytest.approx(0.023)
    assert prices.ec2_cost("t3.medium", 27 * 60) == pytest.approx(0.01872)
    assert prices.ec2_cost("t3.medium", 10) == pytest.approx(0.0416 / 60)


def test_beyond_what_they_can_answer_calls_are_billed_without_provisioned_environments():
    # Two environments at 100 ms answer 20 calls/s. At 40 calls/s half the calls are theirs; 1,000 calls take 25 s:
    # waiting 0.5 GB x 25 s x 0.0000041667 = 0.00005208; running 25 GB-s x (0.0000097222 + 0.0000166667) / 2
    # = 0.00032986; requests 0.0002.
    assert prices.provisioned_calls_per_second(100, 2) == 20
    cost = prices.lambda_per_1000_provisioned(100, 256, provisioned=2, calls_per_second=40)
    assert cost == pytest.approx(0.00058194, abs=1e-8)


def test_provisioned_concurrency_breaks_even_where_both_cost_the_same():
    # 2 x 0.0000041667 / (0.1 s x (0.0000166667 - 0.0000097222)) = 12.0000 calls/s, 60 % of the 20 they can answer.
    rate = prices.provisioned_break_even(100, 2)
    assert rate == pytest.approx(12.0, abs=1e-3)
    at = prices.lambda_per_1000_provisioned(100, 256, provisioned=2, calls_per_second=rate)
    assert at == pytest.approx(prices.lambda_per_1000(100, 256))
    above = prices.lambda_per_1000_provisioned(100, 256, provisioned=2, calls_per_second=rate * 1.1)
    assert above < prices.lambda_per_1000(100, 256)


def test_there_is_no_break_even_where_running_provisioned_is_not_cheaper(fixed_prices, monkeypatch):
    dear = fixed_prices.entries["lambda_x86"] | {"provisioned_duration_per_gb_second": {"usd": 0.0000166667}}
    table = prices.Prices("us-east-1", "2026-11-20", {"lambda_x86": dear})
    monkeypatch.setattr(prices, "table", lambda: table)
    assert prices.provisioned_break_even(100, 2) is None
    # A little cheaper to run, but not enough: 2 x 0.0000041667 / (0.1 x 0.000001) = 83 calls/s, beyond the 20 possible.
    dear["provisioned_duration_per_gb_second"] = {"usd": 0.0000156667}
    assert prices.provisioned_break_even(100, 2) is None


def test_a_spot_instance_that_aws_takes_back_within_the_hour_is_free():
    # m5.xlarge Spot: 0.0585 USD/h; 1,800 s: 0.02925. On demand 0.192: 0.096.
    assert prices.ec2_spot_cost("m5.xlarge", 1800) == pytest.approx(0.02925)
    assert prices.ec2_spot_cost("m5.xlarge", 10) == pytest.approx(0.0585 / 60)
    assert prices.ec2_spot_cost("m5.xlarge", 1800, ended_by="interruption") == 0
    assert prices.ec2_spot_cost("m5.xlarge", 3600, ended_by="interruption") == pytest.approx(0.0585)
    assert prices.ec2_spot_cost("m5.xlarge", 1800, ended_by="User initiated") == pytest.approx(0.02925)
    assert not prices.free_of_charge("on-demand", 1800, "interruption")
    assert prices.spot_share("m5.xlarge") == pytest.approx(0.3046875)


def instance(market, seconds, ended_by):
    return Ec2Instance(instance_id="i-1", market=market, launched_at="", seconds=seconds, ended_by=ended_by)


def test_a_training_on_ec2_costs_what_each_instance_costs():
    instances = [
        instance("spot", 900, "interruption"),
        instance("spot", 7200, "interruption"),
        instance("on-demand", 1800, None),
    ]
    # Free, 2 h x 0.0585 = 0.117, half an hour x 0.192 = 0.096.
    assert prices.ec2_training_cost(instances, "m5.xlarge") == pytest.approx(0.213)
    # Volumes of 73 GB: 0.08 / 730 x 73 = 0.008 USD/h for 2.75 h, the free instance's as well: 0.022.
    assert prices.ec2_training_cost(instances, "m5.xlarge", volume_gb=73) == pytest.approx(0.235)
    with pytest.raises(ValueError, match="market is 'reserved'"):
        prices.ec2_training_cost([instance("reserved", 1, None)], "m5.xlarge")


def test_the_ec2_type_of_a_sagemaker_type():
    assert prices.ec2_type("ml.g4dn.xlarge") == "g4dn.xlarge"
    assert prices.ec2_type("m5.xlarge") == "m5.xlarge"


def test_a_type_without_a_price_names_the_file(monkeypatch):
    monkeypatch.setattr(prices, "table", prices.Prices.read)
    with pytest.raises(ConfigError) as caught:
        prices.training_cost("ml.p5.48xlarge", 10)

    text = str(caught.value)
    assert "ml.p5.48xlarge has no price in " in text
    assert str(prices.TABLE) in text
    assert "ml.m5.xlarge" in text


def test_every_figure_is_dated_and_has_a_source():
    table = prices.Prices.read()

    assert table.region
    assert len(table.date) == 10
    for group in table.entries.values():
        for entry in group.values():
            assert entry["usd"] > 0
            assert re.fullmatch(r"20\d\d(-\d\d){0,2}", entry["as_of"])
            assert entry["source"].startswith(("secondary: ", "AWS Price List API, ", "EC2 DescribeSpotPriceHistory"))


def test_every_type_that_the_forms_suggest_has_a_price():
    table = prices.Prices.read()
    training = TrainingConfig.model_fields["training_instance_type"].examples
    endpoint = DeploymentConfig.model_fields["instance_type"].examples

    for instance_type in {*training, *endpoint}:
        assert table.usd("sagemaker_per_hour", instance_type) > 0


def test_a_broken_table_is_named(tmp_path):
    path = tmp_path / "prices.json"
    with pytest.raises(ConfigError, match=r"prices\.json cannot be read"):
        prices.Prices.read(path)
    for content in ("{", "[]", json.dumps({"region": "x"})):
        path.write_text(content)
        with pytest.raises(ConfigError, match=r"prices\.json cannot be read"):
            prices.Prices.read(path)
