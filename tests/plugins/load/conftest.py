from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
import pytest


class RunningServer:
    """The server of `server.py` in a process of its own."""

    def __init__(self, *options: object) -> None:
        script = Path(__file__).with_name("server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), *map(str, options)], stdout=subprocess.PIPE, text=True
        )
        scheme = "https" if "--certificate" in options else "http"
        self.url = f"{scheme}://127.0.0.1:{int(self.process.stdout.readline())}"

    @property
    def counts(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/counts", context=ssl._create_unverified_context()) as answer:
            return json.load(answer)

    def client(self, service, *, config):
        """What an Airflow hook does: a boto3 client for this endpoint."""
        return boto3.client(
            service,
            config=config,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="secret",
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def serve():
    """Start servers with options of `server.py`; they end with the test."""
    servers = []

    def start(*options: object) -> RunningServer:
        servers.append(RunningServer(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "load test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(signed.public_bytes(pem) + private)
    return file
