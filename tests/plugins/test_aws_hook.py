"""A hook makes clients as the provider's does, and says who we are without looking for it."""

from __future__ import annotations

import inspect

from musher.hooks.aws import AwsHook


def test_a_client_says_who_makes_it_without_reading_the_source_of_each_frame(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    looked = []
    monkeypatch.setattr(inspect, "stack", lambda *arguments: looked.append(arguments) or [])
    client = AwsHook(aws_conn_id=None, client_type="s3", region_name="us-east-1").get_conn()
    assert client.meta.service_model.service_name == "s3"
    agent = client.meta.config.user_agent_extra.split(" ")
    assert "Caller/Musher" in agent
    assert any(each.startswith("AmPP/") for each in agent)
    assert looked == []
