"""A model's `code/requirements.txt`: installed by each instance for itself before it serves."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.local_aws.serving import Serving
from tests.local_aws.wheels import archive, wheel

pytestmark = pytest.mark.usefixtures("shared_environment")

OURS = "sled_dogs"
INFERENCE = textwrap.dedent("""
    import importlib.metadata, json, subprocess, sys

    def version(name):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def model_fn(model_dir):
        says = subprocess.run("sled_dogs-says", shell=True, capture_output=True, text=True).stdout.strip()
        return {"ours": version("sled_dogs"), "tqdm": version("tqdm"), "torch": version("torch"), "says": says,
                "prefix": sys.prefix}

    def input_fn(body, content_type):
        return json.loads(body)

    def predict_fn(data, model):
        return model

    def output_fn(prediction, accept):
        return json.dumps(prediction), accept
""")


@pytest.fixture
def serving(local_aws, bucket, role_arn):
    return Serving(local_aws, bucket, role_arn)


def model(folder: Path, *packages: tuple[str, str]) -> bytes:
    """A model archive whose requirements.txt asks for packages, with their wheels in a folder."""
    for package in packages:
        name, content = wheel(*package)
        (folder / name).write_bytes(content)
    lines = ["--no-index", f"--find-links {folder}", *(f"{name}=={version}" for name, version in packages)]
    return archive({"code/inference.py": INFERENCE, "code/requirements.txt": "\n".join(lines)})


def test_each_instance_has_what_the_model_asks_for(serving, tmp_path):
    # GIVEN two models that ask for two versions, one also for another version of what the image has
    bodies = model(tmp_path, (OURS, "1.0"), ("tqdm", "0.0.1")), model(tmp_path, (OURS, "2.0"))
    name = serving.create(serving.config(*map(serving.model, bodies), count=2))
    # WHEN they serve beside each other
    described = serving.wait(name)
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    first, second = (serving.call(name, TargetVariant=variant) for variant in ("v0", "v1"))
    # THEN each has its own, and the rest of the image
    assert (first["ours"], first["says"], first["tqdm"]) == ("1.0", "installed 1.0", "0.0.1")
    assert (second["ours"], second["says"]) == ("2.0", "installed 2.0")
    assert second["tqdm"] != "0.0.1"
    assert first["torch"] == second["torch"]
    assert first["prefix"] != second["prefix"]
    # AND it goes with the instance
    serving.delete(name)
    assert not Path(first["prefix"]).exists()


def test_requirements_that_cannot_be_had_fail_the_endpoint_with_pips_reason(serving):
    body = archive({"code/inference.py": INFERENCE, "code/requirements.txt": "--no-index\nno-such-sled==1.0"})
    name = serving.create(serving.config(serving.model(body)))
    described = serving.wait(name)
    assert described["EndpointStatus"] == "Failed"
    assert "No matching distribution found for no-such-sled==1.0" in described["FailureReason"]
    assert described["FailureReason"].endswith("code/requirements.txt: failed to install required packages")
    serving.delete(name)


def test_what_an_inference_script_installs_itself_goes_with_the_instance(serving, tmp_path):
    name, content = wheel(OURS, "3.0")
    (tmp_path / name).write_bytes(content)
    install = f'subprocess.check_call([sys.executable, "-m", "pip", "install", {str(tmp_path / name)!r}])\n'
    for code, version in ((INFERENCE.replace("def version", install + "\ndef version"), "3.0"), (INFERENCE, None)):
        name = serving.create(serving.config(serving.model(archive({"code/inference.py": code}))))
        assert serving.wait(name)["EndpointStatus"] == "InService"
        assert serving.call(name)["ours"] == version
        serving.delete(name)


def test_a_model_without_a_network_reaches_no_package_index(serving):
    # GIVEN a model under network isolation that wants a package that any index has
    body = archive({"code/inference.py": INFERENCE, "code/requirements.txt": "six==1.16.0"})
    model_name = serving.model(body, EnableNetworkIsolation=True)
    assert serving.sagemaker.describe_model(ModelName=model_name)["EnableNetworkIsolation"] is True
    name = serving.create(serving.config(model_name))
    # THEN it gets none, as on AWS
    described = serving.wait(name)
    assert described["EndpointStatus"] == "Failed"
    assert "No matching distribution found for six==1.16.0" in described["FailureReason"]
    assert "Retrying" not in described["FailureReason"]
    serving.delete(name)
