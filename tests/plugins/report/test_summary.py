import copy
import json
from pathlib import Path

import pytest
from musher.record import PARTS, RunRecord
from musher.report.summary import key_figures, outcome, text

WHOLE = json.loads((Path(__file__).parents[1] / "record/record.json").read_text())
RECORD = WHOLE | {"release": None}
RELEASE = WHOLE["release"]
PARITY = {
    "function": "f",
    "alias": "live",
    "pictures": 40,
    "accuracy": 0.9,
    "latency_limit_ms": 500,
    "comparison": {"tolerance": 0.1},
    "load": WHOLE["load_test"]["phases"][0],
}
STOPPED = {"stack": "rehearsal", "passed": False, "reasons": ["5 of 105 calls failed", "1 was throttled"]}


def test_a_passed_run_in_a_few_lines():
    lines = text(RunRecord.from_json(RECORD)).splitlines()

    assert lines[0] == "PASSED: all 10 checks hold"
    assert any(line.split() == ["One", "instance", "takes", "47.6/s", "(p99", "within", "400", "ms)"] for line in lines)
    assert len(lines) <= 10


def test_a_failed_check_states_measured_and_required():
    record = copy.deepcopy(RECORD)
    record["verdict"]["passed"] = False
    record["verdict"]["checks"][3] |= {"passed": False, "measured": "4 at once, of 15 offered"}

    assert (
        "  ✗ beyond reserved, concurrency is the reserved number: 4 at once, of 15 offered (required: exactly 5)"
        in text(RunRecord.from_json(record)).splitlines()
    )


def test_a_check_that_the_load_says_nothing_of_is_no_failure():
    record = copy.deepcopy(RECORD)
    sentence = "no verdict: the load of within_reserved was not offered as promised, bursts overlapped"
    record["verdict"] |= {"passed": False, "refused_because": "load not offered, so no verdict; bursts overlapped"}
    record["verdict"]["checks"][2] |= {"passed": False, "inconclusive": True, "measured": sentence}

    lines = text(RunRecord.from_json(record)).splitlines()

    assert lines[0] == "NO VERDICT: load not offered, so no verdict; bursts overlapped"
    assert lines[1].startswith(f"  ? no throttle within reserved: {sentence}")


@pytest.mark.parametrize(
    ("changes", "state", "because"),
    [
        ({"verdict": None}, "open", "the run has no verdict (yet)"),
        (
            {"verdict": None, "model": RECORD["model"] | {"status": "Rejected", "reason": "too weak"}},
            "rejected",
            "too weak",
        ),
        (
            {"verdict": None, "model": RECORD["model"] | {"status": "rejected", "reason": None}},
            "rejected",
            "no reason was given",
        ),
        (
            {"verdict": {"passed": False, "refused_because": "requests left late", "checks": []}},
            "refused",
            "requests left late",
        ),
        (
            {"verdict": {"passed": False, "checks": [{"name": "a", "passed": False}]}},
            "failed",
            "1 of 1 checks: a",
        ),
        ({"release": RELEASE}, "failed", f"{RELEASE['previous_config']} serves as before: {RELEASE['why']}"),
        (
            {"verdict": None, "release": RELEASE | {"outcome": "released", "why": "errors: none"}},
            "passed",
            "without a rehearsal. errors: none",
        ),
        ({"verdict": None, "parity": PARITY | STOPPED}, "failed", "5 of 105 calls failed; 1 was throttled"),
    ],
)
def test_how_a_run_ended(changes, state, because):
    ended = outcome(RunRecord.from_json(RECORD | changes))

    assert (ended.state, ended.because) == (state, because)


def test_figures_that_were_not_measured_are_left_out():
    assert key_figures(RunRecord(run="r")) == []
    assert key_figures(RunRecord.from_json({**dict.fromkeys(PARTS), "run": "r"})) == []
    assert text(RunRecord(run="r")) == "NO VERDICT: the run has no verdict (yet)"


def test_what_cannot_be_read_is_a_line_and_the_rest_is_there():
    lines = text(RunRecord.from_json(RECORD | {"endpoint": {}})).splitlines()

    assert "  ! endpoint is damaged: name is missing." in lines
    assert lines[0] == "PASSED: all 10 checks hold"
    assert any(line.startswith("  Test accuracy") for line in lines)


def test_a_verdict_that_cannot_be_read_is_no_pass():
    ended = outcome(RunRecord.from_json(RECORD | {"verdict": {"checks": []}}))

    assert (ended.state, ended.because) == ("open", "verdict is damaged: passed is missing.")


def test_a_run_that_a_rule_has_ended_says_so():
    reason = "DiagnosticRule ClassImbalance: one class has all pictures (step 0)"
    saved = {"seconds": 12.0, "basis": "3 of 4 epochs were not trained"}
    job = {"job": "a", "step": "train-one", "status": "Failed", "fired": "ClassImbalance", "reason": reason}
    run = RunRecord(run="r", diagnostics={"jobs": [{**job, "saved": saved}]})

    ended = outcome(run)

    assert (ended.state, ended.headline, ended.because) == ("failed", "Stopped by a rule", reason)
    assert [(each.name, each.value) for each in key_figures(run)] == [("Saved by rules", "12 s")]
    again = {**job, "job": "a-2", "status": "Completed", "fired": None}
    assert outcome(RunRecord(run="r", diagnostics={"jobs": [job, again]})).state == "open"
