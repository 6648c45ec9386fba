"""The instance metadata service, version 2, of one instance.

AWS: EC2 user guide, "Use the Instance Metadata Service to access instance metadata". Every GET needs a session token,
which only a PUT gives out. It listens on the instance's own address; SDKs find it by
AWS_EC2_METADATA_SERVICE_ENDPOINT. One path is not IMDS's: NETWORK, by which a host asks the network around it.
"""

from __future__ import annotations

import http.server
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from local_aws.door import Door

log = logging.getLogger(__name__)

TOKEN_PATH = "/latest/api/token"
NETWORK = "/network/admits/"
LONGEST_TOKEN_SECONDS = 21_600

Tree = Mapping[str, Callable[[], str | None]]
"""Path below /latest/ -> its content when asked for; None where there is none now."""


class MetadataService:
    """Listens on an address of its own until `close`.

    Parameters
    ----------
    address
        Where it listens, on a port that is free.
    tree
        What it answers.
    admits
        Whether the network lets a connection from an address to the instance's SSH port through.
    """

    def __init__(self, address: str, tree: Tree, admits: Callable[[str], bool]) -> None:
        self.tree = tree
        self.admits = admits
        self._tokens: dict[str, float] = {}
        service = self

        class Handler(_Handler):
            metadata = service

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name=f"metadata-{address}", daemon=True
        ).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def new_token(self, seconds: int) -> str:
        now = time.monotonic()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}
        token = secrets.token_urlsafe(41)
        self._tokens[token] = now + seconds
        return token

    def accepts(self, token: str | None) -> bool:
        return token is not None and self._tokens.get(token, 0) > time.monotonic()

    def get(self, path: str) -> str | None:
        """What a path below /latest/ answers: a leaf's content, a folder's listing, or None."""
        leaf = self.tree.get(path.rstrip("/"))
        if leaf is not None:
            return leaf()
        folder = path.rstrip("/") + "/" if path.strip("/") else ""
        below = [each.removeprefix(folder) for each in self.tree if each.startswith(folder)]
        names = {each.split("/", 1)[0] + ("/" if "/" in each else "") for each in below}
        return "\n".join(sorted(names)) or None


class _Handler(http.server.BaseHTTPRequestHandler):
    metadata: MetadataService
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""
    door = Door(server="metadata service")

    def parse_request(self) -> bool:
        """Refuse what a web page sends before any method is asked."""
        if not super().parse_request():
            return False
        refusal = self.door.refusal(
            ", ".join(self.headers.get_all("Host", ())),
            origin=self.headers.get("Origin"),
            site=self.headers.get("Sec-Fetch-Site"),
            destination=self.headers.get("Sec-Fetch-Dest"),
        )
        if refusal is not None:
            self.close_connection = True
            self._answer(403, refusal)
        return refusal is None

    def do_PUT(self) -> None:
        wanted = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.headers.get("X-Forwarded-For"):
            self._answer(403, "Forbidden")
        elif self.path != TOKEN_PATH:
            self._answer(404, "Not Found")
        elif not wanted.isdigit() or not 1 <= int(wanted) <= LONGEST_TOKEN_SECONDS:
            self._answer(400, "Bad Request")
        else:
            self._answer(200, self.metadata.new_token(int(wanted)))

    def do_GET(self) -> None:
        if self.path.startswith(NETWORK):
            admitted = self.metadata.admits(self.path.removeprefix(NETWORK))
            self._answer(200 if admitted else 403, "")
            return
        if not self.metadata.accepts(self.headers.get("X-aws-ec2-metadata-token")):
            self._answer(401, "Unauthorized")
            return
        # AWS answers a date in place of "latest" too.
        _, version, path = [*self.path.split("?", 1)[0].split("/", 2), "", ""][:3]
        content = self.metadata.get(path) if version else None
        if content is None:
            self._answer(404, "Not Found")
        else:
            self._answer(200, content)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode("utf-8", "surrogateescape")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.debug(format, *arguments)
