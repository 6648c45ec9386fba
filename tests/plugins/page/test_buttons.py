"""Every button of the page in a browser, on a phone and in both themes; Airflow's answers are made up here.

`tests/chain/test_page.py` has the real ones.
"""

from __future__ import annotations

import datetime as dt
import io
from urllib.parse import urlsplit

import pytest
from musher.costs.running import Running
from musher.page import answers, past, serving
from musher.page.dags import DEPLOY, TRAIN
from musher.page.reader import Seen
from musher.record import History, PastRun
from PIL import Image

from tests.chain.browsing import chromium, violations
from tests.plugins.page.test_live import panel
from tests.plugins.page.test_overview import EVIL, NOW, SERVES, page

REQUEST = {
    "subject": "Release group/3?",
    "body": "| | serves now | to be released |\n|---|---|---|\n| Package | `a` | `b` |\n\n- **Load test**: passed",
    "task_instance": {
        "id": "1", "dag_id": DEPLOY, "dag_run_id": "a run", "task_id": "approve_release", "map_index": -1,
    },
}  # fmt: skip
OTHER = {**REQUEST, "task_instance": {**REQUEST["task_instance"], "id": "2", "dag_run_id": "another run"}}
NOTHING = "Nothing is deployed: there is no function to ask."
ANSWER = {
    "status": 200, "milliseconds": 40.4, "function_ms": 31.0, "initialization": "warm", "weights": "0123", "model": "m",
    "answer": {
        "predictions": [{"label": EVIL, "probability": 0.9}, {"label": "002.Amber_hound", "probability": 0.1}],
        "picture": {"width": 90, "height": 60, "crop": [15.0, 0.0, 75.0, 60.0], "input": 224},
    },
}  # fmt: skip

# Notes what is written beyond the left edge of a canvas.
CUT = """
window.cut = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, ...more) {
  const left = this.getTransform().e + x - (this.textAlign === "right" ? this.measureText(text).width : 0);
  if (left < 0) window.cut.push(text);
  return write.call(this, text, x, ...more);
};
"""

pytestmark = pytest.mark.slow


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60), "tan").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def written():
    made = {"dag": TRAIN, "run": "r", "state": "passed", "headline": EVIL, "because": EVIL, "accuracy": 0.9}
    runs = [PastRun(**made, run_id=f"past-{day}", at=f"2026-11-1{day}T12:00:00+00:00") for day in range(4)]
    listed = serving.Costs((), Running("S3 storage", EVIL, "1 GB", per_month_usd=0.02), NOW)
    hour = [int((NOW - dt.timedelta(minutes=minutes)).timestamp()) for minutes in (2, 1, 0)]
    return page(
        {
            "serving": Seen(SERVES, NOW),
            "traffic": Seen(serving.Traffic(hour, [3.0, 4.0, 1.0], [0.0] * 3, [180_000.0, None, 9_000.0]), NOW),
            "live": Seen(panel(), NOW),
            "costs": Seen(listed, NOW),
            ("history", TRAIN): Seen(past.Known(History(runs=runs)), NOW),
            ("history", DEPLOY): Seen(past.Known(History(runs=[runs[0].replace(dag=DEPLOY)])), NOW),
        }
    )


@pytest.fixture
def asked():
    """The calls that the page has made, as (method, path, body)."""
    return []


@pytest.fixture
def answer(written, asked):
    def answer(route):
        call = route.request
        path = urlsplit(call.url).path
        if call.method != "GET":
            asked.append((call.method, path, call.post_data_json))
        if "/static/" in path:
            found = answers.static(path.rsplit("/", 1)[1])
            route.fulfill(body=found.body, headers=dict(found.headers))
        elif path.endswith("/hitlDetails"):
            route.fulfill(json={"hitl_details": [REQUEST, OTHER]} if call.method == "GET" else {})
        elif path.endswith("/dagRuns"):
            route.fulfill(json={"dag_run_id": "manual__1"})
        elif path.endswith("/try"):
            by_address = "url" in call.post_data_json
            route.fulfill(status=404 if by_address else 200, json={"error": NOTHING} if by_address else ANSWER)
        else:
            policy = {"Content-Type": "text/html", "Content-Security-Policy": answers.POLICY}
            route.fulfill(body=written, headers=policy)

    return answer


@pytest.mark.parametrize(
    ("theme", "option", "said"), [("light", "Reject", "Rejected"), ("dark", "Approve", "Approved")]
)
def test_every_button(browser, answer, asked, theme, option, said):
    from playwright.sync_api import expect

    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme)
    shown, complaints = context.new_page(), []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("dialog", lambda dialog: complaints.append(dialog.message))
    shown.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    shown.route("**/*", answer)
    shown.add_init_script(CUT)
    shown.goto("http://airflow.test/musher/")

    shown.get_by_role("heading", name="Release group/3?").first.wait_for()
    shown.locator(".uplot").first.wait_for()
    assert violations(shown) == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    assert shown.evaluate("window.cut") == []

    shown.locator("#roll-back").click()
    assert violations(shown) == []
    shown.get_by_role("button", name="Leave it").click()
    assert asked == []
    shown.locator("#roll-back").click()
    shown.get_by_role("button", name="Roll back", exact=True).click()
    shown.get_by_text("Started: manual__1").wait_for()
    assert [each[:2] for each in asked] == [("POST", "/api/v2/dags/roll_back_deployment/dagRuns")]

    first = shown.locator("article").first
    first.get_by_label("Why").fill("not today")
    first.get_by_role("button", name=option).click()
    shown.get_by_text(f"{said}: the run goes on.").wait_for()
    assert asked[1] == (
        "PATCH",
        f"/api/v2/dags/{DEPLOY}/dagRuns/a%20run/taskInstances/approve_release/-1/hitlDetails",
        {"chosen_options": [option], "params_input": {"why": "not today"}},
    )

    shown.locator("#url").fill("https://example.com/dog.jpg")
    shown.get_by_role("button", name="Ask").click()
    shown.get_by_text(NOTHING).wait_for()
    assert asked[2] == ("POST", "/musher/try", {"url": "https://example.com/dog.jpg"})
    assert all("404" in each for each in complaints), complaints

    # a photo's answer has what the network was shown of it, also where the browser cannot draw the format itself
    saw = shown.get_by_text("It saw the middle 60 × 60 of 90 × 60 pixels, as 224 × 224.")
    for name, body, drawn in (("a.png", photo(), 1), ("a.tiff", b"II*\0", 0)):
        shown.locator("#file").set_input_files({"name": name, "mimeType": "image/x", "buffer": body})
        saw.wait_for()
        expect(shown.locator(".asked img")).to_have_count(drawn)
        assert shown.locator(".crop .shown").get_attribute("d") == "M15 0H75V60H15Z"
        assert EVIL in shown.locator("#answer").inner_text()
        shown.locator("#url").fill("https://example.com/dog.jpg")
        shown.get_by_role("button", name="Ask").click()
        saw.wait_for(state="detached")
    assert violations(shown) == []

    # a chart is read by keys as well
    chart = shown.get_by_role("img", name="Test accuracy: 4 points")
    chart.focus()
    chart.press("Home")
    shown.get_by_text("past-0", exact=False).first.wait_for()

    compare = shown.get_by_role("button", name="Compare two runs")
    assert compare.is_disabled()
    for name in ("past-1", "past-3"):
        shown.get_by_label(f"Compare {name}").check()
    with shown.expect_navigation(url="**/musher/compare?a=train_image_classifier%2Fpast-1&b=*"):
        compare.click()
    context.close()
