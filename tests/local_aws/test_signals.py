"""Told to stop again and again, everything that is told stops once, and whole."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from tests.local_aws.daemon import JOBS_PYTHON, ROOT

MODEL = """
def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    return data

def output_fn(prediction, accept):
    return prediction, "application/json"
"""


def told_over_and_over(process: subprocess.Popen[bytes], number: int) -> int:
    """Send the signal until the process is gone; its exit status."""
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline, "it is still there"
        for _ in range(1000):
            process.send_signal(number)
        time.sleep(0.01)
    return process.returncode


def test_the_local_aws_ends_however_often_it_is_told_and_saves_what_it_has(new_local_aws):
    daemon = new_local_aws(options=["--save-every", "3600s"], anew=True)
    daemon.client("s3").create_bucket(Bucket="ends")
    assert told_over_and_over(daemon.process, signal.SIGTERM) == 0
    assert (daemon.state / "snapshot.json").exists(), daemon.log.read_text()


def test_a_model_server_ends_however_often_it_is_told(tmp_path, wait_for):
    code, port_file = tmp_path / "model/code", tmp_path / "port"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(MODEL)
    own = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_BASE_DIR": str(tmp_path),
           "SAGEMAKER_SUBMIT_DIRECTORY": str(code), "PYTHONPATH": str(code)}  # fmt: skip
    server = [str(JOBS_PYTHON), str(ROOT / "local_aws/endpoints/server.py"), str(tmp_path / "model"), str(port_file)]
    process = subprocess.Popen(server, env=os.environ | own, start_new_session=True)
    try:
        wait_for(port_file.exists, 120)
        assert told_over_and_over(process, signal.SIGTERM) == 0
    finally:
        process.kill()
        process.wait()
