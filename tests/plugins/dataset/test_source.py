import shutil
import socket
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from musher.dataset import Limits, S3Prefix, check, list_folder, resolve
from musher.dataset.listing import find_root
from musher.errors import DatasetError


def problem(dataset, workspace, **limits) -> str:
    workspace.mkdir(exist_ok=True)
    with pytest.raises(DatasetError) as caught:
        resolve(str(dataset), workspace, Limits(**limits))
    text = str(caught.value)
    assert str(dataset) in text
    assert "\n" not in text
    assert text.endswith(".")
    return text


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(65536))
            except OSError:
                return
        elif self.path == "/stalls":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"PK")
            self.wfile.flush()
            time.sleep(3)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"PK")
        elif self.path == "/moved.zip":
            self.send_response(302)
            self.send_header("Location", "/pictures.zip")
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture
def web(tmp_path):
    """The address of a web server for the test's folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_folder_is_itself(pictures, workspace):
    root = pictures()

    assert resolve(str(root), workspace) == root


@pytest.mark.parametrize(
    ("kind", "over"), [("zip", "file"), ("gztar", "file"), ("zip", "http"), ("gztar", "http"), ("zip", "redirect")]
)
def test_an_archive_is_unpacked_wherever_it_lies(pictures, workspace, web, tmp_path, kind, over):
    pictures(tmp_path / "made" / "dogs")
    archive = shutil.make_archive(str(tmp_path / "pictures"), kind, tmp_path / "made")
    name = archive.rsplit("/", 1)[1]
    dataset = {"file": archive, "http": f"{web}/{name}", "redirect": f"{web}/moved.zip"}[over]

    folder = resolve(dataset, workspace)

    listing = list_folder(folder)
    assert find_root(listing) == "dogs"
    assert check(listing.below("dogs")).images == {"train": 4, "valid": 4, "test": 4}


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("s3://b/a/dogs", S3Prefix("b", "a/dogs/")),
        ("s3://b/a/dogs/", S3Prefix("b", "a/dogs/")),
        ("s3://b", S3Prefix("b", "")),
        ("s3://b/", S3Prefix("b", "")),
    ],
)
def test_an_s3_prefix_stays_there(workspace, dataset, expected):
    assert resolve(dataset, workspace) == expected


def test_an_archive_on_s3_is_refused_with_what_to_do(workspace):
    assert "has to be a prefix" in problem("s3://b/dogs.zip", workspace)
    assert "looks like s3://" in problem("s3:///dogs", workspace)


def test_what_is_not_there_is_said(workspace, web, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        refused = problem(f"http://127.0.0.1:{closed}/dogs.zip", workspace, timeout_seconds=5)

    assert "Connection refused" in refused
    assert "answered 404" in problem(f"{web}/nothing.zip", workspace)
    assert "no such file or folder" in problem(tmp_path / "nothing.zip", workspace)
    assert "http://, https:// or s3://" in problem("ftp://example.com/dogs.zip", workspace)
    assert "http://, https:// or s3://" in problem("file:///etc/passwd", workspace)
    assert "cannot be downloaded" in problem("http://no-such-host.invalid/dogs.zip", workspace)


def test_a_download_is_limited_in_size_and_in_standing_still(workspace, web):
    assert "more than the 1,000,000 bytes" in problem(f"{web}/endless", workspace, download_bytes=1_000_000)
    assert "timed out" in problem(f"{web}/stalls", workspace, timeout_seconds=0.5)
    assert "ended after 2 of 1,000 bytes" in problem(f"{web}/short", workspace)
    assert "has 1,000 bytes" in problem(f"{web}/short", workspace, download_bytes=10)
    assert list(workspace.iterdir()) == []


def test_a_web_page_instead_of_an_archive_is_said(workspace, web, tmp_path):
    (tmp_path / "login.zip").write_text("<html>please log in</html>")

    assert "neither a zip nor a gzipped tar" in problem(f"{web}/login.zip", workspace)
