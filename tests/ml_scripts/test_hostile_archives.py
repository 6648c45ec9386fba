"""A model's archive, and a job's code, get nothing out of the folder that they are unpacked into."""

from __future__ import annotations

import contextlib
import shutil

import evaluate
import pytest
from errors import UserError
from sagemaker_training import files

from tests import hostile


@pytest.mark.parametrize("way", hostile.WAYS)
def test_a_models_archive(tmp_path, way):
    archive = hostile.archive(way, tmp_path)
    (tmp_path / "target/channel").mkdir()
    shutil.move(archive, tmp_path / "target/channel/model.tar.gz")

    unpacked = tmp_path / "target/model"
    if way == "absolute":  # without its first slash it is a name inside, which some tools write by mistake
        evaluate.unpack(tmp_path / "target/channel", unpacked)
        assert (unpacked / str(tmp_path / "outside/new").lstrip("/")).read_text() == "got out"
    else:
        with pytest.raises(UserError, match=r"model\.tar\.gz cannot be unpacked: "):
            evaluate.unpack(tmp_path / "target/channel", unpacked)
    assert hostile.got_out(tmp_path) == []


@pytest.mark.parametrize("way", sorted(set(hostile.WAYS) - {"device", "pipe"}))
def test_the_code_of_a_job_as_awss_toolkit_unpacks_it(tmp_path, way):
    """Device files it makes, where it may: the container is the job's own."""
    archive = hostile.archive(way, tmp_path)
    with contextlib.suppress(Exception):  # it refuses some, and unpacks others inside
        files.download_and_extract(str(archive), str(tmp_path / "target"))
    assert hostile.got_out(tmp_path) == []
