"""Where the time of training went, on the report.

profile.json is what two processes wrote, one of them slowed down, with fewer samples, and BatchSize as it judges now.
"""

import html
import json
import re
from pathlib import Path

import pytest
from musher.record import JobProfile, Profile, RunRecord
from musher.report import profile_charts
from musher.report.page import render

WRITTEN = json.loads(Path(__file__).with_name("profile.json").read_text())
SLOW = JobProfile.model_validate(WRITTEN | {"job": "train-many"}, extra="ignore")


def section(*jobs: JobProfile) -> str:
    page = render(RunRecord(run="a-run", profile=Profile(jobs=list(jobs))))
    return page[page.index('<section id="profile">') : page.index('<section id="quality">')]


@pytest.mark.slow
def test_the_verdict_the_bars_and_the_rules_are_on_the_page():
    shown = section(SLOW)
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", shown, flags=re.DOTALL)))

    assert re.search(r"Process 1 on algo-2 worked \S+ s, process 0 on algo-1 did as much in .*Next: look at what", text)
    assert re.search(r"LoadBalancing IssuesFound 0\.\d+ 0\.35 process 1 on algo-2", text)
    assert "CPUBottleneck Stopped there is no GPU" in text
    assert "Looked, and found nothing: BatchSize" in text
    assert shown.count("<svg") == 2
    for name in ("algo-1, 0", "algo-2, 1", "waiting for data", "backward", "exchange", "CPUs", "network"):
        assert f">{name}</text>" in shown


def test_what_is_not_there_is_not_drawn():
    bare = SLOW.replace(ranks=[], hosts=[], missing=[1], not_sampled="psutil is not installed")

    shown = section(bare)

    assert "<svg" not in shown
    assert "The profile of 1 of 2 processes is missing." in shown
    assert "The instances were not sampled: psutil is not installed." in shown
    assert profile_charts.times(bare) is None
    assert 'id="profile"' not in render(RunRecord(run="a-run"))


@pytest.mark.slow
def test_nothing_in_a_profile_is_trusted():
    evil = '<script>alert("x")</script>'
    rank = SLOW.ranks[0].replace(host=evil)

    assert "<script" not in section(SLOW.replace(job=evil, ranks=[rank]))
