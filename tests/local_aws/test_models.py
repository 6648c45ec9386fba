"""botocore's models are read once in a process, whoever asks."""

import subprocess
import sys

from tests.local_aws.daemon import ROOT

PROGRAM = """
import os

import local_aws.server
import boto3
import botocore.loaders
from moto.core.utils import get_service_model

read = []
load = botocore.loaders.JSONFileLoader._load_file
botocore.loaders.JSONFileLoader._load_file = lambda self, path, how: read.append(path) or load(self, path, how)
for _ in range(2):
    session = boto3.session.Session(region_name="us-east-1")
    for service in ("sts", "sns"):
        session.client(service, endpoint_url="http://127.0.0.1")
        get_service_model.__wrapped__(service)
models = [path for path in read if path.endswith("service-2.json.gz") and os.path.isfile(path)]
print(len(models), len(set(models)), sorted({path.split("/")[-3] for path in models}))
"""


def test_one_model_is_read_once_by_all_sessions_and_once_by_moto():
    found = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split(maxsplit=2) == ["4", "2", "['sns', 'sts']\n"]
