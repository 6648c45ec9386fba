import base64
import gzip
import hashlib
import io
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from musher.errors import StagingError
from musher.staging import function_archive, packages, stage_code, staged_code
from musher.staging.code import VENDORED, source_tar


def test_the_archive_holds_the_scripts_the_packages_and_their_licences(s3, env, scripts, cache):
    (scripts / "__pycache__").mkdir()
    (scripts / "__pycache__" / "train.pyc").write_bytes(b"x")
    (scripts / ".DS_Store").write_bytes(b"x")

    staged = stage_code(s3, env.bucket, scripts, cache)

    assert staged.sent
    assert staged.uri == f"s3://{env.bucket}/code/{staged.sha256}/"
    body = s3.get_object(Bucket=env.bucket, Key=f"code/{staged.sha256}/sourcedir.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        assert sorted(tar.getnames()) == [
            "evaluate.py",
            "train.py",
            "vendor/efficientnet_lite_pytorch/__init__.py",
            "vendor/licenses/efficientnet_lite_pytorch-0.1.0/LICENSE",
            "vendor/licenses/safetensors-0.8.0/LICENSE",
            "vendor/safetensors/__init__.py",
        ]
        assert tar.extractfile("train.py").read() == b"print('train')"


def test_equal_code_is_sent_once_whatever_machine_it_comes_from(s3, env, scripts, cache):
    first = stage_code(s3, env.bucket, scripts, cache)
    for path in scripts.iterdir():  # another check-out: other times, other modes
        os.utime(path, (1, 1))
        path.chmod(0o600)

    second = stage_code(s3, env.bucket, scripts, cache)
    (scripts / "train.py").write_text("print('changed')")
    third = stage_code(s3, env.bucket, scripts, cache)

    assert (second.uri, second.sent) == (first.uri, False)
    assert third.sent
    assert third.sha256 != first.sha256


def test_code_that_somebody_has_changed_is_not_used(s3, env, scripts, cache):
    staged = stage_code(s3, env.bucket, scripts, cache)
    key = f"code/{staged.sha256}/sourcedir.tar.gz"
    stored = s3.get_object(Bucket=env.bucket, Key=key)["Body"].read()
    assert staged_code(s3, staged.uri) == stored

    # Compressed otherwise it is the same code.
    s3.put_object(Bucket=env.bucket, Key=key, Body=gzip.compress(gzip.decompress(stored), 1, mtime=1))
    assert not stage_code(s3, env.bucket, scripts, cache).sent

    for body, digest in (
        (gzip.compress(b"another"), hashlib.sha256(b"another").hexdigest()),
        (stored[:-20], "cannot be told (Compressed file ended"),
        (b"no archive", "cannot be told (Not a gzipped file"),
    ):
        s3.put_object(Bucket=env.bucket, Key=key, Body=body)
        for use in (lambda: staged_code(s3, staged.uri), lambda: stage_code(s3, env.bucket, scripts, cache)):
            with pytest.raises(StagingError) as refused:
                use()
            assert f"/{key} has the SHA-256 {digest}" in str(refused.value)
            assert f"it has to be {staged.sha256}: somebody has changed it" in str(refused.value)


def test_the_vendored_version_is_the_one_the_scripts_are_tested_with():
    pinned = Path("requirements/ml.txt").read_text()

    for requirement in VENDORED:
        assert requirement.replace("_", "-") in pinned


def test_another_folder_is_refused(s3, env, tmp_path, cache):
    with pytest.raises(StagingError, match=r"holds no train\.py"):
        stage_code(s3, env.bucket, tmp_path, cache)
    with pytest.raises(StagingError, match=r"holds no handler\.py"):
        function_archive(tmp_path)


def test_a_package_that_cannot_be_had_is_named(tmp_path):
    with pytest.raises(StagingError) as caught:
        packages.wheel("no-such-package-of-musher==9.9.9", tmp_path / "cache")

    text = str(caught.value)
    assert "pip cannot get no-such-package-of-musher==9.9.9: " in text
    assert "put its wheel into" in text
    assert "\n" not in text
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_real_packages_fit_the_container(tmp_path, scripts):
    try:
        tar = source_tar(scripts, tmp_path / "cache")
    except StagingError as error:
        pytest.skip(f"no package index: {error}")

    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        names = archive.getnames()
    assert "vendor/efficientnet_lite_pytorch/model.py" in names
    assert [name for name in names if re.fullmatch(r"vendor/safetensors/.*\.abi3\.so", name)]
    assert any("LICENSE" in name for name in names)
    assert not [name for name in names if ".dist-info" in name]
    assert source_tar(scripts, tmp_path / "cache") == tar
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        platforms = [path.name for path in (tmp_path / "cache").rglob("safetensors*.whl")]
        assert all("x86_64" in name for name in platforms)


def test_the_functions_zip_is_the_same_for_the_same_files(tmp_path):
    folder = tmp_path / "lambda"
    folder.mkdir()
    (folder / "handler.py").write_text("def handler(event, context): ...")
    (folder / "README.md").write_text("not needed there")
    first = function_archive(folder)
    os.utime(folder / "handler.py", (1, 1))
    (folder / "handler.py").chmod(0o600)

    second = function_archive(folder)

    assert first == second
    archive = zipfile.ZipFile(io.BytesIO(first))
    assert archive.namelist() == ["handler.py"]
    assert archive.infolist()[0].external_attr >> 16 == 0o100644  # Lambda's user has to be able to read it
    assert len(base64.b64encode(hashlib.sha256(first).digest())) == 44
