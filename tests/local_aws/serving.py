"""What the tests of endpoints and of their scaling do over and over: a model, an endpoint, calls, load."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
import uuid
from contextlib import contextmanager

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"
MODEL = """
import json, os, time

def model_fn(model_dir):
    print("loading", model_dir)
    return {"name": open(os.path.join(model_dir, "name.txt")).read()}

def input_fn(body, content_type):
    return json.loads(body)

def predict_fn(data, model):
    if data.get("fail"):
        raise ValueError("no such bird")
    time.sleep(data.get("sleep", 0))
    return {"model": model["name"], "pid": os.getpid(), "echo": data}

def output_fn(prediction, accept, context):
    if "attributes" in prediction["echo"]:
        asked = context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
        answer = f"{prediction['echo']['attributes']}, asked with {asked}"
        context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", answer)
        context.set_response_header(0, "X-Another", "not handed on")
    return json.dumps(prediction), accept
"""


def archive(code: str = MODEL, name: str = "a", extra: tarfile.TarInfo | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in (("name.txt", name), ("code/inference.py", code)):
            info = tarfile.TarInfo(path)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        if extra is not None:
            tar.addfile(extra)
    return buffer.getvalue()


class Serving:
    """What the tests do over and over: a model, a configuration, an endpoint, and waiting."""

    def __init__(self, aws, bucket: str, role_arn: str) -> None:
        self.aws, self.bucket, self.role_arn = aws, bucket, role_arn
        self.sagemaker, self.s3, self.cloudwatch = (aws.client(name) for name in ("sagemaker", "s3", "cloudwatch"))
        self.runtime = boto3.client(
            "sagemaker-runtime", endpoint_url=aws.url, region_name="us-east-1", aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}, max_pool_connections=16),
        )  # fmt: skip

    def model(self, body: bytes | None = None, image: str = IMAGE, **more) -> str:
        name = f"model-{uuid.uuid4().hex[:8]}"
        self.s3.put_object(Bucket=self.bucket, Key=f"{name}/model.tar.gz", Body=archive() if body is None else body)
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role_arn,
            PrimaryContainer={"Image": image, "ModelDataUrl": f"s3://{self.bucket}/{name}/model.tar.gz"},
            **more,
        )
        return name

    def config(self, *models: str, count: int = 1, instance_type: str = "ml.m5.large", weights=(1.0, 1.0)) -> str:
        name = f"config-{uuid.uuid4().hex[:8]}"
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {"VariantName": f"v{number}", "ModelName": model, "InstanceType": instance_type,
                 "InitialInstanceCount": count, "InitialVariantWeight": weights[number]}
                for number, model in enumerate(models)
            ],
        )  # fmt: skip
        return name

    def create(self, config: str, **more) -> str:
        name = f"endpoint-{uuid.uuid4().hex[:8]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, **more)
        return name

    def wait(self, name: str, *passing: str, seconds: float = 120) -> dict:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            described = self.sagemaker.describe_endpoint(EndpointName=name)
            if described["EndpointStatus"] not in (passing or ("Creating", "Updating", "RollingBack")):
                return described
            time.sleep(0.05)
        raise AssertionError(f"{name} is still {described['EndpointStatus']}")

    def delete(self, name: str) -> None:
        self.wait(name)
        self.sagemaker.delete_endpoint(EndpointName=name)
        for _ in range(600):
            try:
                self.sagemaker.describe_endpoint(EndpointName=name)
            except ClientError:
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} is still there")

    def call(self, name: str, data: dict | None = None, **more) -> dict:
        answer = self.runtime.invoke_endpoint(
            EndpointName=name, Body=json.dumps(data or {}), ContentType="application/json", **more
        )
        return json.loads(answer["Body"].read()) | {"variant": answer["InvokedProductionVariant"]}

    def metric(self, name: str, metric: str, stat: str, since: float, variant: str = "v0") -> list[float]:
        dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": variant}]
        query = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions}
        answer = self.cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "q", "MetricStat": {"Metric": query, "Period": 60, "Stat": stat}}],
            StartTime=since,
            EndTime=time.time() + 1,
        )
        return answer["MetricDataResults"][0]["Values"]

    @contextmanager
    def load(self, name: str, data: dict | None = None, clients: int = 4):
        """Calls from several threads; yields the lists of answers and errors."""
        answers, errors, stop = [], [], threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    answers.append(self.call(name, data))
                except ClientError as error:
                    errors.append(error.response["Error"]["Code"])

        threads = [threading.Thread(target=work) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield answers, errors
        finally:
            stop.set()
            for thread in threads:
                thread.join()
