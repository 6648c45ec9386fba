"""The pages in Airflow's UI, in a real Airflow and a real browser, as people with different rights."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from musher import record
from musher.names import Run
from musher.record import History, PastRun, remember
from musher.record.history import key
from PIL import Image

from tests.chain.browsing import Person, chromium, roles_asked, violations
from tests.local_aws.daemon import wait_for
from tests.local_aws.serving import IMAGE, archive

DAG, TRAIN, ROLL_BACK = "approve_a_release", "train_image_classifier", "roll_back_deployment"
ENDPOINT = "musher-image-classifier"
# What is captured of it is read with the record of the run that made the package: a group of the test's own, which
# Airflow's role may read.
GROUP, CAPTURED = "page", 3
MODEL = """
import json

def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(body, model):
    return {"predictions": [{"label": "001.Ash_spitz", "probability": 0.4}]}

def output_fn(prediction, accept):
    return json.dumps(prediction), accept
"""
MAY_READ = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sagemaker:DescribeModelPackage",
            "Resource": f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{GROUP}/*",
        }
    ],
}
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
def waiting(airflow_stack):
    """Two runs that go on until somebody answers them; the first has written down of its data what is hard to show."""
    runs = [f"{name}~2026-11-24T12:00:00+00:00" for name in ("waits", "waits-too")]
    for run in runs:
        airflow_stack.trigger(DAG, {"approval": "before_release"}, run)
    for run in runs:
        airflow_stack.wait_for_state(DAG, run, "approve_release", "awaiting_input", "deferred")
    classes = [f"{number}.{text}" for number, text in enumerate(EVIL)]
    write(airflow_stack, runs[0], "dataset", {**RECORD["dataset"], "source": EVIL[0], "classes": classes})
    return runs


def write(stack, run_id, part, content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    name = part if "." in part else f"{part}.json"
    stack.local_aws("s3").put_object(Bucket=stack.bucket, Key=f"runs/{Run(DAG, run_id).key}/{name}", Body=body)


@pytest.fixture
def serves(airflow_stack):
    """An endpoint that serves and has another configuration to go back to, and the history of runs before it."""
    sagemaker, s3 = airflow_stack.local_aws("sagemaker"), airflow_stack.local_aws("s3")
    role = json.loads(airflow_stack.rest("GET", "variables/musher")["value"])["endpoint_role_arn"]
    s3.put_object(Bucket=airflow_stack.bucket, Key="jobs/page/output/model.tar.gz", Body=archive(MODEL))
    data = f"s3://{airflow_stack.bucket}/jobs/page/output/model.tar.gz"
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    airflow_stack.local_aws("iam").put_role_policy(
        RoleName="musher-airflow", PolicyName=GROUP, PolicyDocument=json.dumps(MAY_READ)
    )
    package = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"run_key": GROUP},
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": data}],
            "SupportedContentTypes": ["image/png"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    tested = record.Predictions(
        weights="w", classes=["001.Ash_spitz"], pictures=[(f"{number}.jpg", 1, 0, 0, 0.9) for number in range(40)]
    )
    record.write(s3, airflow_stack.bucket, GROUP, tested)
    sagemaker.create_model(
        ModelName="page",
        ExecutionRoleArn=role,
        PrimaryContainer={"ModelPackageName": package["ModelPackageArn"]},
    )
    variant = {
        "VariantName": "AllTraffic", "ModelName": "page", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
    }  # fmt: skip
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{airflow_stack.bucket}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    sagemaker.create_endpoint_config(EndpointConfigName="page", ProductionVariants=[variant], DataCaptureConfig=capture)
    tags = [{"Key": "project", "Value": "musher"}, {"Key": "previous_config", "Value": "the-one-before"}]
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="page", Tags=tags)
    status = lambda: sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"]  # noqa: E731
    wait_for(lambda: status() == "InService", 120, "the endpoint does not come into service")
    runtime = airflow_stack.local_aws("sagemaker-runtime")
    for shade in range(CAPTURED):
        runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="image/png", Body=picture(shade))
    wait_for(lambda: captured(s3, airflow_stack.bucket) == CAPTURED, 120, "the calls are not captured")
    made = {"dag": TRAIN, "run": "r", "state": "passed", "headline": EVIL[1], "because": EVIL[0], "accuracy": 0.9}
    runs = [
        PastRun(**made, run_id=f"past-{number}", at=f"2026-11-{number + 10}T12:00:00+00:00", told={"epochs": number})
        for number in range(6)
    ]
    # written at the same time, as by tasks that end together: none is lost
    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(lambda run: remember(s3, airflow_stack.bucket, run), runs))
    body = json.loads(s3.get_object(Bucket=airflow_stack.bucket, Key=key(TRAIN))["Body"].read())
    assert {run.run_id for run in History.from_json(body).runs} >= {run.run_id for run in runs}
    yield
    sagemaker.delete_endpoint(EndpointName=ENDPOINT)


def picture(shade):
    body = io.BytesIO()
    Image.new("RGB", (24, 16), (shade, 90, 90)).save(body, "PNG")
    return body.getvalue()


def captured(s3, bucket):
    """How many calls lie in the bucket."""
    found = s3.list_objects_v2(Bucket=bucket, Prefix=f"capture/{ENDPOINT}/").get("Contents", ())
    bodies = [s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found]
    return sum(len(body.splitlines()) for body in bodies)


@pytest.mark.timeout(900)
def test_pages(airflow_stack, server, browser, waiting, serves):
    """One test for all that needs the server and the browser: these take longer to start than anything here."""
    run, other = waiting
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

    # the page in the navigation: a viewer sees, and may do nothing
    viewer.page.goto("/")
    viewer.page.get_by_role("link", name="Musher").click()
    outer = viewer.page.frame_locator("iframe")
    outer.get_by_text("in service").wait_for()
    outer.get_by_text(EVIL[1]).first.wait_for()
    assert outer.locator("#roll-back").is_disabled()
    assert outer.locator("#photo").count() == 0
    # what callers sent, as the endpoint has captured it: the figures are everybody's, the pictures are not
    live = outer.locator("#live")
    live.get_by_text(f"{CAPTURED} callers' pictures are too few").wait_for()
    assert live.locator("img").count() == 0
    assert server.call("viewer", "POST", "/musher/try", json={"url": "https://a"}).status_code == 403
    assert server.call("", "GET", "/musher/").status_code == 401
    asked_of = f"/api/v2/dags/{DAG}/dagRuns/{quote(run, safe='')}/taskInstances/approve_release/-1/hitlDetails"
    for method, path, body in (
        ("POST", f"/api/v2/dags/{ROLL_BACK}/dagRuns", {"logical_date": None}),
        ("PATCH", asked_of, {"chosen_options": ["Approve"], "params_input": {}}),
    ):
        # what the page's buttons call, without the page
        assert server.call("viewer", method, path, json=body).status_code == 403
        assert server.call("", method, path, json=body).status_code == 401

    # two runs beside each other
    outer.locator(".uplot").first.wait_for()
    for name in ("past-1", "past-3"):
        outer.get_by_label(f"Compare {name}").check()
    outer.get_by_role("button", name="Compare two runs").click()
    row = outer.locator("tr.differs", has_text="epochs")
    row.wait_for()
    assert [text.split()[0] for text in row.locator("td").all_inner_texts()] == ["1", "3"]
    viewer.complaints[:] = [each for each in viewer.complaints if "Content Security" not in each]
    assert [each for each in viewer.complaints if "sandboxed" not in each] == []
    viewer.context.close()  # what is open asks the server again and again

    # an operator on a phone: rolls back after having been asked, rejects a release, asks about a photo
    operator = Person(browser, server, "operator", viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = operator.page
    airflow_stack.rest("PATCH", f"dags/{ROLL_BACK}", {"is_paused": True}, update_mask="is_paused")
    page.goto("/musher/")
    page.get_by_text("in service").wait_for()
    page.get_by_role("heading", name="Release approvals/1?").first.wait_for()
    small = page.locator("#live img[src^='data:image/jpeg']")
    assert small.evaluate_all("all => all.map(each => each.naturalWidth > 0)") == [True] * CAPTURED
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#roll-back").click()
    page.get_by_role("button", name="Leave it").click()
    assert airflow_stack.runs(ROLL_BACK) == []
    page.locator("#roll-back").click()
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_text("Started:").wait_for()
    assert [each["triggering_user_name"] for each in airflow_stack.runs(ROLL_BACK)] == ["operator"]
    answer(page, other, "Approve", "Approved", "better")
    airflow_stack.wait_for_state(DAG, other, "approve_release", "success")
    decided = record.read(airflow_stack.local_aws("s3"), airflow_stack.bucket, "approvals", record.Approval)
    assert (decided.outcome, decided.by, decided.reason) == ("approved", "operator", "better")
    # the release is begun, and need not be tried any further
    airflow_stack.wait_for_state(DAG, other, "release_endpoint", "scheduled", "queued", "running", "failed")
    airflow_stack.rest("PATCH", f"dags/{DAG}/dagRuns/{quote(other)}", {"state": "failed"}, update_mask="state")
    answer(page, run, "Reject", "Rejected", "not today")
    asked = airflow_stack.rest("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances/approve_release/-1/hitlDetails")
    assert (asked["chosen_options"], asked["params_input"]) == (["Reject"], {"why": "not today"})
    page.locator("#url").fill("https://example.com/dog.jpg")
    page.get_by_role("button", name="Ask").click()
    page.get_by_text("Nothing is deployed: there is no function to ask.").wait_for()
    assert all("404" in each for each in operator.complaints), operator.complaints


def answer(page, run, option, said, why):
    """Answer a run's request for approval on the page."""
    request = page.locator("article").filter(has=page.get_by_role("link", name=run, exact=True))
    request.get_by_label("Why").fill(why)
    request.get_by_role("button", name=option).click()
    page.get_by_text(f"{said}: the run goes on.").wait_for()
