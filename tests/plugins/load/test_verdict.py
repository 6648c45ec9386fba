import copy

import pytest
from musher.load.verdict import Limits, decide

LIMITS = Limits(p99_ms=500, error_rate=0.01)


def phase(name, sent, **changes):
    good = {
        "name": name,
        "offered_concurrency": None,
        "sent": sent,
        "succeeded": sent,
        "throttled": 0,
        "failed": 0,
        "cold_starts": 0,
        "max_concurrency": 2,
        "p99_ms": 120.0,
        "send_lag_p99_ms": 2.0,
        "errors": [],
        "invalid_because": None,
    }
    return good | changes


GOOD = {
    "load_test": {
        "cloudwatch_throttles": 30,
        "phases": [
            phase("within_provisioned", 6),
            phase("within_reserved", 15, cold_starts=3, p99_ms=2300.0),
            phase("beyond_reserved", 45, succeeded=15, throttled=30, max_concurrency=5, offered_concurrency=15),
            phase("scale_out", 900),
            phase("quiet", 0, p99_ms=None, send_lag_p99_ms=None, max_concurrency=None),
        ],
    },
    "autoscaling": {
        "scaled_out": True,
        "scaled_in": True,
        "timeline": [
            {"seconds": 0, "in_service": 1},
            {"seconds": 41, "in_service": 2},
            {"seconds": 99, "in_service": 1},
            {"seconds": 120, "in_service": 1},
        ],
    },
    "lambda": {"reserved": 5, "provisioned": 2},
}
CHECKS = [
    "load was offered as promised",
    "no cold start within provisioned",
    "no throttle within reserved",
    "beyond reserved, concurrency is the reserved number",
    "throttles seen equal CloudWatch's",
    "endpoint scaled out under load",
    "endpoint scaled in afterwards",
    "p99 latency within limit",
    "error rate within limit",
]


def changed(*path, to):
    """GOOD with one value changed; `path` goes through part, then for the load test phase name, then field."""
    record = copy.deepcopy(GOOD)
    at = record
    for step in path[:-1]:
        at = next(p for p in at["phases"] if p["name"] == step) if "phases" in at and step != "phases" else at[step]
    at[path[-1]] = to
    return record


def failing(verdict):
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_all_is_well():
    verdict = decide(GOOD, LIMITS)

    assert verdict["passed"] is True
    assert verdict["refused_because"] is None
    assert [check["name"] for check in verdict["checks"]] == CHECKS
    measured = {check["name"]: check["measured"] for check in verdict["checks"]}
    assert measured["endpoint scaled out under load"] == "yes, 1 to 2 instances after 41 s"
    assert measured["endpoint scaled in afterwards"] == "yes, 2 to 1 instances after 99 s"
    assert measured["beyond reserved, concurrency is the reserved number"] == "5 at once, of 15 offered"


@pytest.mark.parametrize(
    ("record", "check"),
    [
        (changed("load_test", "within_provisioned", "cold_starts", to=1), "no cold start within provisioned"),
        (changed("load_test", "within_provisioned", "succeeded", to=0), "no cold start within provisioned"),
        (
            changed("load_test", "beyond_reserved", "max_concurrency", to=4),
            "beyond reserved, concurrency is the reserved number",
        ),
        (
            changed("load_test", "beyond_reserved", "max_concurrency", to=6),
            "beyond reserved, concurrency is the reserved number",
        ),
        (changed("load_test", "cloudwatch_throttles", to=29), "throttles seen equal CloudWatch's"),
        (changed("autoscaling", "scaled_out", to=False), "endpoint scaled out under load"),
        (changed("autoscaling", "scaled_in", to=False), "endpoint scaled in afterwards"),
        (changed("load_test", "scale_out", "p99_ms", to=501), "p99 latency within limit"),
        (changed("load_test", "scale_out", "failed", to=20), "error rate within limit"),
        (
            changed("load_test", "scale_out", "invalid_because", to="800 of the 900 promised"),
            "load was offered as promised",
        ),
    ],
)
def test_each_check_fails_alone(record, check):
    verdict = decide(record, LIMITS)

    assert failing(verdict) == [check]
    assert verdict["passed"] is False


def test_a_throttle_within_reserved_fails_its_check_and_does_not_hide_in_the_sum():
    verdict = decide(changed("load_test", "within_reserved", "throttled", to=1), LIMITS)

    assert "no throttle within reserved" in failing(verdict)
    assert "throttles seen equal CloudWatch's" in failing(verdict)


def test_throttling_beyond_reserved_is_the_point_and_no_error():
    (errors,) = [c for c in decide(GOOD, LIMITS)["checks"] if c["name"] == "error rate within limit"]

    assert errors["passed"]
    assert errors["measured"] == "0.00% (0 of 936)"


def test_throttling_under_the_scale_out_load_counts_as_an_error():
    record = changed("load_test", "scale_out", "throttled", to=90)
    record["load_test"]["cloudwatch_throttles"] = 120

    assert failing(decide(record, LIMITS)) == ["error rate within limit"]


def test_the_most_frequent_error_is_named():
    record = changed("load_test", "scale_out", "failed", to=90)
    errors = [{"status": "failed", "kind": "HTTP 502", "count": 90, "example": "no instance"}]
    record["load_test"]["phases"][3]["errors"] = errors

    measured = decide(record, LIMITS)["checks"][-1]["measured"]

    assert measured.endswith("; most often HTTP 502: no instance")


def test_a_load_that_was_not_offered_refuses_the_verdict():
    verdict = decide(changed("load_test", "scale_out", "invalid_because", to="requests left late"), LIMITS)

    assert verdict["passed"] is False
    assert verdict["refused_because"] == "load not offered, so no verdict; scale_out: requests left late"


@pytest.mark.parametrize(
    ("name", "field", "check"),
    [
        ("within_provisioned", "cold_starts", "no cold start within provisioned"),
        ("within_reserved", "throttled", "no throttle within reserved"),
        ("within_provisioned", "throttled", "no throttle within reserved"),
        ("beyond_reserved", "max_concurrency", "beyond reserved, concurrency is the reserved number"),
    ],
)
@pytest.mark.parametrize("value", [0, 7])
def test_bursts_that_were_not_offered_say_nothing_of_the_service(name, field, check, value):
    record = changed("load_test", name, "invalid_because", to="bursts overlapped")
    next(each for each in record["load_test"]["phases"] if each["name"] == name)[field] = value

    verdict = decide(record, LIMITS)

    (found,) = [each for each in verdict["checks"] if each["name"] == check]
    assert (found["passed"], found["inconclusive"]) == (False, True)
    assert found["measured"] == f"no verdict: the load of {name} was not offered as promised, bursts overlapped"
    assert verdict["refused_because"] == f"load not offered, so no verdict; {name}: bursts overlapped"
    assert not verdict["passed"]


def test_nothing_measured_fails_every_check_and_says_so():
    verdict = decide({}, LIMITS)

    assert failing(verdict) == CHECKS
    assert all("not measured" in check["measured"] for check in verdict["checks"])


@pytest.mark.parametrize("part", list(GOOD))
@pytest.mark.parametrize("value", [None, {}, [], "nonsense"])
def test_a_missing_part_never_breaks_the_verdict(part, value):
    verdict = decide(GOOD | {part: value}, LIMITS)

    assert verdict["passed"] is False


@pytest.mark.parametrize("name", [p["name"] for p in GOOD["load_test"]["phases"] if p["name"] != "quiet"])
def test_a_phase_that_was_not_run_fails_the_verdict(name):
    record = copy.deepcopy(GOOD)
    record["load_test"]["phases"] = [p for p in record["load_test"]["phases"] if p["name"] != name]

    verdict = decide(record, LIMITS)

    assert "load was offered as promised" in failing(verdict)
    assert f"the phase {name} was not run" in verdict["refused_because"]


def test_calls_of_tries_that_were_repeated_count_among_cloudwatchs_throttles():
    record = changed("load_test", "cloudwatch_throttles", to=42)
    assert failing(decide(record, LIMITS)) == ["throttles seen equal CloudWatch's"]

    record["load_test"]["repeated"] = [phase("beyond_reserved", 45, throttled=12, invalid_because="requests left late")]

    verdict = decide(record, LIMITS)
    assert failing(verdict) == []
    assert verdict["checks"][0]["measured"].endswith("; offered once more, not as promised at first: beyond_reserved")


@pytest.mark.parametrize("field", [f for f in phase("x", 1) if f not in ("name", "errors", "invalid_because")])
def test_a_phase_without_a_field_is_no_crash(field):
    record = copy.deepcopy(GOOD)
    for each in record["load_test"]["phases"]:
        del each[field]

    assert isinstance(decide(record, LIMITS)["passed"], bool)


def test_an_endpoint_that_does_not_scale_has_no_scaling_checks():
    record = copy.deepcopy(GOOD) | {"autoscaling": None}
    record["load_test"]["phases"] = [
        p for p in record["load_test"]["phases"] if p["name"] not in ("scale_out", "quiet")
    ]

    verdict = decide(record, Limits(p99_ms=500, scales=False))

    assert verdict["passed"] is True
    assert not any("scaled" in check["name"] for check in verdict["checks"])
