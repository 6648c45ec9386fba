"""Asks an instance's metadata service, version 2, from outside."""

from __future__ import annotations

import urllib.error
import urllib.request


class Metadata:
    """The metadata service of one instance that answers SSH."""

    def __init__(self, hosts, instance: str) -> None:
        self.url = hosts.execute(instance, "echo $AWS_EC2_METADATA_SERVICE_ENDPOINT")[1].strip()
        self.token = self.ask("/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})[1]

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """The status and the body of a request."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path: str) -> str:
        status, text = self.ask(f"/latest/{path}", headers={"X-aws-ec2-metadata-token": self.token})
        assert status == 200, text
        return text

    def status(self, path: str) -> int:
        return self.ask(f"/latest/{path}", headers={"X-aws-ec2-metadata-token": self.token})[0]
