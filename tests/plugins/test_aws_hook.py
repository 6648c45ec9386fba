"""A hook makes clients as the provider's does, says who we are without looking for it, and reads no model twice."""

from __future__ import annotations

import inspect

import botocore.loaders
import botocore.session
import pytest
from musher.hooks import aws
from musher.hooks.aws import AwsHook


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def test_hooks_of_one_process_read_a_model_once(monkeypatch):
    # GIVEN sessions that share nothing by themselves, as on MWAA
    monkeypatch.setattr(botocore.session, "create_loader", botocore.loaders.create_loader)
    monkeypatch.setattr(aws, "_LOADERS", {})
    read = []
    load = botocore.loaders.JSONFileLoader.load_file
    monkeypatch.setattr(
        botocore.loaders.JSONFileLoader, "load_file", lambda self, path: read.append(path) or load(self, path)
    )
    # WHEN two hooks make a client each THEN the second one reads nothing
    for _ in range(2):
        assert AwsHook(aws_conn_id=None, client_type="sqs", region_name="us-east-1").get_conn()
        assert read
        assert len(read) == len(set(read))


def test_a_client_says_who_makes_it_without_reading_the_source_of_each_frame(monkeypatch):
    looked = []
    monkeypatch.setattr(inspect, "stack", lambda *arguments: looked.append(arguments) or [])
    client = AwsHook(aws_conn_id=None, client_type="s3", region_name="us-east-1").get_conn()
    assert client.meta.service_model.service_name == "s3"
    agent = client.meta.config.user_agent_extra.split(" ")
    assert "Caller/Musher" in agent
    assert any(each.startswith("AmPP/") for each in agent)
    assert looked == []
