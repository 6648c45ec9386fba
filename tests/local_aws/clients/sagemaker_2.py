"""What whoever has SageMaker's Python SDK 2 does first: train, deploy, ask, delete. Run by an environment of its own.

The last line that it prints is JSON: what came of it.
"""

import json
import os
import sys
from pathlib import Path

import boto3
import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.pytorch import PyTorch
from sagemaker.serializers import JSONSerializer

TRAINING = """
import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
given, _ = parser.parse_known_args()
print("loss=0.25;")
facts = {"epochs": given.epochs, "files": os.listdir(os.environ["SM_CHANNEL_TRAIN"])}
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w") as file:
    json.dump(facts, file)
"""
INFERENCE = """
import json, os

def model_fn(folder):
    return json.load(open(os.path.join(folder, "model.json")))

def input_fn(body, content_type):
    return json.loads(body)

def predict_fn(data, model):
    return {"asked": data, "model": model}

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


def main() -> None:
    role, folder, bucket = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    source = folder / "source"
    source.mkdir()
    (source / "train.py").write_text(TRAINING)
    (source / "inference.py").write_text(INFERENCE)
    # For a name of its own it would ask STS for the account, at AWS's address, whatever AWS_ENDPOINT_URL says.
    session = sagemaker.Session(boto3.session.Session(), default_bucket=bucket)
    data = session.upload_data(str(source / "train.py"), key_prefix="pictures")
    estimator = PyTorch(
        entry_point="train.py", source_dir=str(source), role=role, sagemaker_session=session, instance_count=1,
        instance_type="ml.m5.large", framework_version="2.6.0", py_version="py312", hyperparameters={"epochs": 3},
        metric_definitions=[{"Name": "loss", "Regex": "loss=(.*?);"}], base_job_name="sdk",
    )  # fmt: skip
    estimator.fit({"train": os.path.dirname(data)})
    described = session.describe_training_job(estimator.latest_training_job.name)
    model = estimator.create_model(entry_point="inference.py", source_dir=str(source), role=role)
    predictor = model.deploy(1, "ml.m5.large", serializer=JSONSerializer(), deserializer=JSONDeserializer())
    predicted = predictor.predict({"a": 1})
    predictor.delete_model()
    predictor.delete_endpoint(True)
    found = {
        "status": described["TrainingJobStatus"],
        "metrics": {each["MetricName"]: each["Value"] for each in described["FinalMetricDataList"]},
        "predicted": predicted,
    }
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
