"""The pages in Airflow's UI, in a real Airflow and a real browser, as people with different rights."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from musher.names import Run

from tests.chain.browsing import Person, chromium, roles_asked, violations

DAG = "approve_a_release"
RECORD = json.loads((Path(__file__).parents[1] / "plugins/record/record.json").read_text())
# What a class, a picture or a data set may be called on the file systems of this world.
EVIL = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'};alert(1);//",
    "{{ 7 * 7 }}<svg onload=alert(1)>",
    "</title></style><iframe srcdoc='<script>parent.alert(1)</script>'>",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def server(browser, airflow_stack):
    with roles_asked(airflow_stack) as started:
        yield started


@pytest.fixture
def run(airflow_stack):
    """A run that goes on until somebody answers it, and that has written down of its data what is hard to show."""
    run_id = airflow_stack.trigger(DAG, {"approval": "before_release"}, "waits~2026-11-24T12:00:00+00:00")
    airflow_stack.wait_for_state(DAG, run_id, "approve_release", "awaiting_input", "deferred")
    classes = [f"{number}.{text}" for number, text in enumerate(EVIL)]
    write(airflow_stack, run_id, "dataset", {**RECORD["dataset"], "source": EVIL[0], "classes": classes})
    return run_id


def write(stack, run_id, part, content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    name = part if "." in part else f"{part}.json"
    stack.local_aws("s3").put_object(Bucket=stack.bucket, Key=f"runs/{Run(DAG, run_id).key}/{name}", Body=body)


@pytest.mark.timeout(900)
def test_pages(airflow_stack, server, browser, run):
    """One test for all that needs the server and the browser: these take longer to start than anything here."""
    address = f"/musher/report/{DAG}/{quote(run, safe='')}"
    tab = f"/dags/{DAG}/runs/{quote(run, safe='')}/plugin/report"

    # who is signed out learns nothing, and who is signed in nothing of what there is not
    assert server.call("", "GET", address).status_code == 401
    assert server.call("viewer", "GET", f"/musher/report/{DAG}/none").status_code == 404

    # a viewer sees what the run knows so far, in the tab of the run
    viewer = Person(browser, server, "viewer")
    viewer.page.goto(tab)
    outer = viewer.page.frame_locator("iframe")
    outer.get_by_text("The run goes on").wait_for()
    inner = outer.frame_locator("iframe")
    inner.get_by_text("In progress").wait_for()
    assert EVIL[0] in inner.locator("#data").inner_text()
    assert "script>alert(1)" in inner.locator("#data").inner_text()
    frame = next(each for each in viewer.page.frames if "/musher/report/" in each.url)
    assert violations(frame) == []

    # what its tasks write comes in by itself
    write(airflow_stack, run, "tuning", RECORD["tuning"])
    inner.get_by_text("trials; the best reached").wait_for()

    # the finished report may be anybody's file: nothing in it runs, and it follows the theme
    finished = b"<html><h1>finished</h1><script>document.title = 'run'</script><img src=x onerror=alert(1)></html>"
    write(airflow_stack, run, "report.html", finished)
    outer.get_by_text("The finished report.").wait_for()
    inner.get_by_text("finished").wait_for()
    assert all("Content Security Policy" in each or "Blocked script" in each for each in viewer.complaints)
    viewer.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    inner.locator("html[data-theme=dark]").wait_for(state="attached")
