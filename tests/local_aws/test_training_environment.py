"""The Python environment of a training instance: AWS's image, and what the job itself installs over it."""

from __future__ import annotations

import json
import struct
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.local_aws.training_scripts import Jobs
from tests.local_aws.wheels import archive

pytestmark = pytest.mark.usefixtures("shared_environment")

# The packages of a test's own; "tqdm" is in AWS's image in another version.
OURS = "sled_dogs"
FACTS = textwrap.dedent(f"""
    import importlib.metadata, json, os, pathlib, shutil, subprocess, sys

    def version(name):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    facts = {{"ours": version("{OURS}"), "tqdm": version("tqdm"), "prefix": sys.prefix,
             "torch": version("torch"), "pip": said("pip", "--version").split(" from ")[0],
             "says": said("{OURS}-says") if shutil.which("{OURS}-says") else None}}
    if "sled_dogs" in sys.argv:
        import sled_dogs
        facts["module"] = sled_dogs.__version__
    path = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], f"facts-{{os.environ['SM_CURRENT_HOST']}}.json")
    path.write_text(json.dumps(facts))
""")
INSTALLS = textwrap.dedent(f"""
    import subprocess, sys
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--find-links", "wheels", "{OURS}"])
    import {OURS}
""")
SHELL = f"""#!/bin/sh
set -e
pip install --find-links wheels {OURS}
{OURS}-says
python facts.py
"""


class Scripts(Jobs):
    """Jobs with scripts of a test's own."""

    def run(
        self, program: str, code: bytes, *, instances: int = 1, data: str = "train", wait: bool = True, **values: str
    ) -> Any:
        """Start a job that runs a program of a code archive; its description at the end, or its name at once."""
        key = f"code/{uuid.uuid4().hex[:8]}/"
        self.s3.put_object(Bucket=self.bucket, Key=f"{key}sourcedir.tar.gz", Body=code)
        request = self.request(program=program, instances=instances)
        request["TrainingJobName"] = f"environment-{uuid.uuid4().hex[:8]}"
        request["InputDataConfig"] = [self.channel("train", f"data/{data}/"), self.channel("code", key)]
        request["HyperParameters"] = self.script(program) | values
        self.sagemaker.create_training_job(**request)
        return self.end(request["TrainingJobName"]) if wait else request["TrainingJobName"]


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return Scripts(local_aws, bucket, role_arn, wait_for)


def with_requirements(*packages: tuple[str, str], program: str = FACTS) -> bytes:
    """A script and a requirements.txt that asks for packages that come along."""
    lines = ["--find-links wheels", *(f"{name}=={version}" for name, version in packages)]
    return archive({"facts.py": program, "requirements.txt": "\n".join(lines)}, *packages)


def facts(jobs: Scripts, described: dict[str, Any]) -> list[dict[str, Any]]:
    assert described["TrainingJobStatus"] == "Completed", described["FailureReason"]
    return jobs.facts(described["TrainingJobName"])


def test_requirements_are_installed_for_the_job_alone(jobs):
    # GIVEN a job whose requirements.txt asks for a package, and for another version of one that the image has
    described = jobs.run("facts.py", with_requirements((OURS, "1.0"), ("tqdm", "0.0.1")))
    # THEN it has both, their commands, and the rest of the image
    (first,) = facts(jobs, described)
    assert (first["ours"], first["tqdm"], first["says"]) == ("1.0", "0.0.1", "installed 1.0")
    assert first["torch"]
    # AND the next job has none of it
    (second,) = facts(jobs, jobs.run("facts.py", archive({"facts.py": FACTS})))
    assert (second["ours"], second["says"]) == (None, None)
    assert second["tqdm"] != "0.0.1"
    assert second["pip"] == first["pip"]


def test_two_jobs_have_two_versions_at_once(jobs):
    names = [
        jobs.run("facts.py", with_requirements((OURS, version)), wait=False, dogs="sled_dogs")
        for version in ("1.0", "2.0")
    ]
    found = [facts(jobs, jobs.end(name))[0] for name in names]
    assert [each["module"] for each in found] == ["1.0", "2.0"]
    assert [each["says"] for each in found] == ["installed 1.0", "installed 2.0"]


def test_every_instance_installs_for_itself(jobs, local_aws):
    described = jobs.run("facts.py", with_requirements((OURS, "1.0")), instances=2)
    found = facts(jobs, described)
    assert [each["ours"] for each in found] == ["1.0", "1.0"]
    assert found[0]["prefix"] != found[1]["prefix"]
    # It went with the instance.
    assert [Path(each["prefix"]).exists() for each in found] == [False, False]


def test_what_a_script_installs_itself_goes_with_the_job(jobs):
    (first,) = facts(jobs, jobs.run("facts.py", archive({"facts.py": INSTALLS + FACTS}, (OURS, "1.0"))))
    assert first["ours"] == "1.0"
    (second,) = facts(jobs, jobs.run("train.sh", archive({"train.sh": SHELL, "facts.py": FACTS}, (OURS, "2.0"))))
    assert (second["ours"], second["says"]) == ("2.0", "installed 2.0")
    (third,) = facts(jobs, jobs.run("facts.py", archive({"facts.py": FACTS})))
    assert third["ours"] is None


def test_requirements_that_cannot_be_had_fail_the_job_in_the_toolkits_words(jobs):
    described = jobs.run("facts.py", archive({"facts.py": FACTS, "requirements.txt": "no-such-sled==1.0"}))
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("AlgorithmError: InstallRequirementsError:")
    assert "pip install -r requirements.txt" in described["FailureReason"]
    assert any("No matching distribution found for no-such-sled==1.0" in line
               for line in jobs.lines(described["TrainingJobName"]))  # fmt: skip


# The shape of AWS's own example, sagemaker-python-sdk/pytorch_mnist/mnist.py: data set and transforms from torchvision,
# channels and folders from SM_ variables, hyperparameters by argparse.
MNIST = textwrap.dedent("""
    import argparse, json, logging, os, sys
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torch.optim as optim
    import torch.utils.data
    from torchvision import datasets, models, transforms

    logger = logging.getLogger(__name__)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.StreamHandler(sys.stdout))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, kernel_size=5)
            self.fc1 = nn.Linear(576, 10)

        def forward(self, x):
            x = F.relu(F.max_pool2d(self.conv1(x), 2))
            return F.log_softmax(self.fc1(x.view(-1, 576)), dim=1)

    def loader(folder, train, batch_size):
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
        data = datasets.MNIST(folder, train=train, transform=transform)
        return torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=train)

    def train(args):
        torch.manual_seed(args.seed)
        model = Net()
        optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
        for epoch in range(1, args.epochs + 1):
            model.train()
            for data, target in loader(args.data_dir, True, args.batch_size):
                optimizer.zero_grad()
                loss = F.nll_loss(model(data), target)
                loss.backward()
                optimizer.step()
        model.eval()
        correct = seen = 0
        with torch.no_grad():
            for data, target in loader(args.data_dir, False, args.test_batch_size):
                correct += model(data).argmax(dim=1).eq(target).sum().item()
                seen += len(target)
        logger.info("Test set: accuracy=%s", correct / seen)
        with open(os.path.join(args.model_dir, "model.pth"), "wb") as f:
            torch.save(model.state_dict(), f)

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        parser.add_argument("--batch-size", type=int, default=64)
        parser.add_argument("--test-batch-size", type=int, default=1000)
        parser.add_argument("--epochs", type=int, default=10)
        parser.add_argument("--lr", type=float, default=0.01)
        parser.add_argument("--momentum", type=float, default=0.5)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--backend", type=str, default=None)
        parser.add_argument("--hosts", type=list, default=json.loads(os.environ["SM_HOSTS"]))
        parser.add_argument("--current-host", type=str, default=os.environ["SM_CURRENT_HOST"])
        parser.add_argument("--model-dir", type=str, default=os.environ["SM_MODEL_DIR"])
        parser.add_argument("--data-dir", type=str, default=os.environ["SM_CHANNEL_TRAIN"])
        parser.add_argument("--num-gpus", type=int, default=os.environ["SM_NUM_GPUS"])
        train(parser.parse_args())
""")


def digits(count: int) -> tuple[bytes, bytes]:
    """Pictures and labels in MNIST's own form: a digit is a bright stripe at its own height."""
    labels = bytes(number % 10 for number in range(count))
    pictures = b"".join(
        bytes(255 if 4 + 2 * label <= row < 6 + 2 * label else 0 for row in range(28) for _ in range(28))
        for label in labels
    )
    return struct.pack(">4i", 2051, count, 28, 28) + pictures, struct.pack(">2i", 2049, count) + labels


def test_awss_own_example_runs(jobs):
    # GIVEN pictures where torchvision's MNIST looks for them
    for name, count in (("train", 400), ("t10k", 100)):
        for kind, body in zip(("images-idx3", "labels-idx1"), digits(count), strict=True):
            key = f"data/mnist/MNIST/raw/{name}-{kind}-ubyte"
            jobs.s3.put_object(Bucket=jobs.bucket, Key=key, Body=body)
    # WHEN the script trains THEN it has learned them, and the model is in S3
    values = {"epochs": "3", "batch-size": "20", "lr": "0.05", "backend": json.dumps("gloo")}
    described = jobs.run("mnist.py", archive({"mnist.py": MNIST}), data="mnist", **values)
    assert described["TrainingJobStatus"] == "Completed", described["FailureReason"]
    metrics = {each["MetricName"]: each["Value"] for each in described["FinalMetricDataList"]}
    assert metrics["accuracy"] > 0.9
    assert set(jobs.files(described["TrainingJobName"], "model.tar.gz")) == {"model.pth"}
