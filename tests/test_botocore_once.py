"""What the tests' processes spare botocore changes nothing of what its sessions and clients do."""

from __future__ import annotations

import functools

import botocore.hooks
import botocore.session
import pytest


def client(session: botocore.session.Session):
    return session.create_client("sqs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


def test_what_one_session_does_to_its_clients_it_does_to_no_others():
    # GIVEN a session whose clients get one method more and lack another
    changing, other = botocore.session.Session(), botocore.session.Session()

    def change(class_attributes, **_):
        class_attributes["speak"] = lambda self: "spoken"
        del class_attributes["send_message"]

    changing.register("creating-client-class.sqs", change)
    # WHEN both make clients
    changed, plain = client(changing), client(other)
    # THEN the others' are as botocore makes them
    assert changed.speak() == "spoken"
    assert not hasattr(changed, "send_message")
    assert not hasattr(plain, "speak")
    assert plain.send_message.__name__ == "send_message"
    assert type(plain).send_message is type(client(other)).send_message
    assert plain.can_paginate("list_queues")


def test_an_event_has_the_name_that_its_emitter_gives_it():
    heard = []
    usual = botocore.hooks.EventAliaser(botocore.hooks.HierarchicalEmitter())
    special = botocore.hooks.EventAliaser(botocore.hooks.HierarchicalEmitter(), {"logs": "trees"})
    for emitter, name in ((usual, "before-call.cloudwatch-logs"), (special, "before-call.trees")):
        emitter.register("before-call.logs", lambda heard_as, **_: heard.append(heard_as))
        emitter._emitter.emit(name, heard_as=name)  # past the aliases
    assert heard == ["before-call.cloudwatch-logs", "before-call.trees"]


class Handlers:
    def of_any(self, **_): ...

    def of_one(self, event_name): ...


@pytest.mark.parametrize("handler", [Handlers().of_one, Handlers.of_one, functools.partial(Handlers().of_one)])
def test_a_handler_that_does_not_take_any_keyword_is_refused(handler):
    emitter = botocore.hooks.HierarchicalEmitter()
    with pytest.raises(ValueError, match="must accept keyword arguments"):
        emitter.register("before-call", handler)


@pytest.mark.parametrize("handler", [Handlers().of_any, Handlers.of_any, functools.partial(Handlers().of_any)])
def test_a_handler_of_any_keyword_is_taken(handler):
    emitter = botocore.hooks.HierarchicalEmitter()
    emitter.register("before-call", handler)
    assert emitter._handlers.prefix_search("before-call")
