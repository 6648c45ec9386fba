import copy
import json
from pathlib import Path

import pytest
from musher.report.summary import key_figures, outcome, text

RECORD = json.loads(Path(__file__).with_name("record.json").read_text())


def test_a_passed_run_in_a_few_lines():
    lines = text(RECORD, report="build/demo/report.html", ui="http://127.0.0.1:8080").splitlines()

    assert lines[0] == "PASSED: all 9 checks hold"
    assert any(line.split() == ["One", "instance", "takes", "47.6/s", "(p99", "within", "400", "ms)"] for line in lines)
    assert lines[-2:] == ["Report: build/demo/report.html", "Airflow: http://127.0.0.1:8080"]
    assert len(lines) <= 12


def test_a_failed_check_states_measured_and_required():
    record = copy.deepcopy(RECORD)
    record["verdict"]["passed"] = False
    record["verdict"]["checks"][3] |= {"passed": False, "measured": "4 at once, of 15 offered"}

    assert (
        "  ✗ beyond reserved, concurrency is the reserved number: 4 at once, of 15 offered (required: exactly 5)"
        in text(record).splitlines()
    )


@pytest.mark.parametrize(
    ("changes", "state", "because"),
    [
        ({"verdict": None}, "open", "the run has no verdict (yet)"),
        ({"verdict": None, "model": {"status": "Rejected", "reason": "too weak"}}, "rejected", "too weak"),
        ({"verdict": None, "model": {"status": "rejected"}}, "rejected", "no reason was given"),
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
    ],
)
def test_how_a_run_ended(changes, state, because):
    ended = outcome(RECORD | changes)

    assert (ended.state, ended.because) == (state, because)


def test_figures_that_were_not_measured_are_left_out():
    assert key_figures({}) == []
    assert key_figures(dict.fromkeys(RECORD)) == []
    assert text({}) == "NO VERDICT: the run has no verdict (yet)"
