"""What tests of releases do over and over: a project that serves, models that behave badly, and callers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError
from musher import record
from musher.hooks.served_before import ServedBefore
from musher.hooks.serving import CHANGING
from musher.operators.deployment import RegisterScalingOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.release import ReleaseEndpointOperator

from tests.local_aws.daemon import wait_for
from tests.local_aws.serving import archive
from tests.plugins.operators.labelled import judged_right, pictures, put
from tests.plugins.operators.listening import Listener

# Says of each picture what its table says, and behaves as it is told.
MODEL = """
import hashlib, json, os, resource, signal, time

calls, leaked = 0, []

def model_fn(model_dir):
    model = json.load(open(os.path.join(model_dir, "name.txt")))
    if model["behave"] == "cannot load":
        raise RuntimeError("no such layer")
    if model["behave"] == "leaks":
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 64 * 2**20,) * 2)
    return model

def input_fn(body, content_type):
    return bytes(body)

def predict_fn(body, model):
    global calls
    calls += 1
    behave = model["behave"]
    time.sleep(0.02 if behave != "slow" else 0.05)
    if behave == "fails" or (behave == "fails sometimes" and calls % 20 == 0):
        raise ValueError("cannot reshape")
    if behave == "leaks":
        try:
            leaked.append(bytearray(2**21))
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)  # what becomes of a container that has used up its memory
    digest = hashlib.sha256(body).hexdigest()
    classes = model["classes"]
    number = model["table"][digest]
    if behave == "wrong":
        number = int(digest, 16) % len(classes)
    predictions = [
        {"label": name, "probability": 0.9 if each == number else 0.1 / (len(classes) - 1)}
        for each, name in enumerate(classes)
    ]
    return {"predictions": sorted(predictions, key=lambda each: -each["probability"])}

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json; weights=0123456789abcdef; model=" + os.environ["MODEL_NAME"]
"""
# Three silent minutes are the end of a release: longer than a busy machine may keep its heartbeat waiting.
MINUTE = 4.0
PARAMS = {
    "bake_seconds": 370,  # twenty-five seconds here, of which a busy machine may need most
    "final_bake_seconds": 30,
    "judge_answers": 100,
    "judge_requests_per_second": 40,
    "slower_allowed": 0.5,
    "max_instances": 2,
}
CLASSES = ("a", "b")


PICTURES = pictures(20)
TABLE = {hashlib.sha256(data).hexdigest(): CLASSES.index(file[0]) for file, data in PICTURES.items()}


class Released:
    """A project whose endpoint serves a good model on one instance, with auto-scaling and pictures."""

    def __init__(self, project: Any) -> None:
        self.project = project
        self.listener = Listener(project)
        self.uri = put(project, PICTURES)
        project.run_as("deploy_image_classifier", "first", **PARAMS)
        endpoint = project.perform(DeployEndpointOperator, model=self.model("good"))
        project.perform(RegisterScalingOperator, endpoint=endpoint, capacity={"max_rps_per_instance": 1000.0})

    def model(self, behave: str) -> dict[str, Any]:
        """A registered model that behaves like this, as ChooseModelOperator tells of it; on the run's record is what a
        good one said when it was judged."""
        project = self.project
        classes = CLASSES[::-1] if behave == "other order" else CLASSES
        told = json.dumps({"behave": behave, "table": TABLE, "classes": classes})
        arn = project.package(project.model_archive(behave.replace(" ", "-"), archive(code=MODEL, name=told)))
        record.write(project.s3, project.environment.bucket, project.run.key, judged_right(PICTURES))
        return {"package_arn": arn, "specification": "", "dataset_uri": self.uri, "run_key": project.run.key}

    def release(self, run: str, behave: str, **params: Any) -> dict[str, Any]:
        self.project.run_as("deploy_image_classifier", run, **{**PARAMS, **params})
        return self.release_of_this_run(behave)

    def release_of_this_run(self, behave: str) -> dict[str, Any]:
        return self.project.perform(ReleaseEndpointOperator, model=self.model(behave), tried_on="rehearsal")

    @contextlib.contextmanager
    def callers(self, rps: float = 10.0) -> Iterator[tuple[list[str], list[bool]]]:
        """Somebody asks the endpoint all the time; yields the lists of what went wrong and of whether answers were
        right."""
        runtime, name = self.project.daemon.client("sagemaker-runtime"), self.project.endpoint["EndpointName"]
        wrong: list[str] = []
        answered: list[bool] = []
        over = threading.Event()

        def ask() -> None:
            while True:
                data = list(PICTURES.values())[len(answered) % len(PICTURES)]
                try:
                    body = runtime.invoke_endpoint(EndpointName=name, ContentType="image/png", Body=data)["Body"].read()
                    label = json.loads(body)["predictions"][0]["label"]
                    answered.append(label == CLASSES[TABLE[hashlib.sha256(data).hexdigest()]])
                except ClientError as error:
                    wrong.append(error.response["Error"]["Code"])
                if over.wait(1 / rps):
                    return

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield wrong, answered
        finally:
            over.set()
            thread.join()

    @property
    def settled(self) -> dict[str, Any]:
        """The endpoint, once auto-scaling has taken the instance away that the release added."""
        wait_for(lambda: self.project.endpoint["EndpointStatus"] not in CHANGING, 60)
        return self.project.endpoint

    def told(self) -> list[str]:
        """The subjects of what the topic was told since this was last asked, without the project's name."""
        return [each.partition(": ")[2] for each in self.listener.subjects()]

    @property
    def variant(self) -> str:
        """How Application Auto Scaling names what scales."""
        return f"endpoint/{self.project.endpoint['EndpointName']}/variant/AllTraffic"

    @property
    def configuration_before(self) -> str | None:
        """What a roll-back would bring back."""
        return ServedBefore.of(self.project.sagemaker, self.project.endpoint["EndpointArn"]).config

    @property
    def scalable_target(self) -> dict[str, int]:
        client = self.project.daemon.client("application-autoscaling")
        (found,) = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[self.variant])[
            "ScalableTargets"
        ]
        return {"MinCapacity": found["MinCapacity"], "MaxCapacity": found["MaxCapacity"]}

    @property
    def alarms(self) -> list[str]:
        client = self.project.daemon.client("cloudwatch")
        found = client.describe_alarms(AlarmNamePrefix=self.project.endpoint["EndpointName"])
        return [each["AlarmName"] for each in found["MetricAlarms"]]

    @property
    def configurations(self) -> list[str]:
        """The project's endpoint configurations."""
        found = self.project.sagemaker.list_endpoint_configs(NameContains=f"{self.project.name}-endpoint-")
        return [each["EndpointConfigName"] for each in found["EndpointConfigs"]]
