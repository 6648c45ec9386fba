"""Makes botocore work out once in a process of the tests what each of its sessions and clients works out anew.

Tests make thousands of both, and each of the operators' hooks has a session of its own: a fifth of the CPU of the
tests' processes went to reading AWS's models of its services, and much of the rest to what is here. An EC2
client takes a seventh of its time. Nothing here changes what a client does.
"""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType
from typing import Any

import botocore.client
import botocore.hooks
import botocore.session


def work_out_once() -> None:
    """From now on, in this process."""
    # The sessions share what has been read, as the clients of one session do.
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    _alias_events_once()
    _look_at_handlers_quickly()
    _look_into_models_once()


def _alias_events_once() -> None:
    """The emitters share how the events of botocore's own table of aliases are called."""
    names: dict[str, str] = {}
    aliaser: Any = botocore.hooks.EventAliaser
    make = aliaser.__init__

    @functools.wraps(make)
    def make_sharing(self: Any, event_emitter: Any, event_aliases: dict[str, str] | None = None) -> None:
        make(self, event_emitter, event_aliases)
        if event_aliases is None or event_aliases == botocore.hooks.EVENT_ALIASES:
            self._alias_name_cache = names

    aliaser.__init__ = make_sharing


def _look_at_handlers_quickly() -> None:
    """Whether a handler takes any keyword is written in its code; botocore works out its whole signature."""
    of_any = botocore.hooks.accepts_kwargs

    @functools.wraps(of_any)
    def accepts_kwargs(handler: Any) -> Any:
        function = handler.__func__ if isinstance(handler, MethodType) else handler
        if isinstance(function, FunctionType):
            return function.__code__.co_flags & inspect.CO_VARKEYWORDS
        return of_any(handler)

    botocore.hooks.accepts_kwargs = accepts_kwargs


def _look_into_models_once() -> None:
    """Clients share what has been looked up of a service's model, and their classes the methods, of which EC2 has 770;
    each class has a dictionary of its own."""
    creator: Any = botocore.client.ClientCreator
    load, make = creator._load_service_model, creator._create_methods
    models: dict[int, tuple[Any, Any]] = {}
    methods: dict[tuple[type, Any], dict[str, Any]] = {}

    @functools.wraps(load)
    def model(self: Any, service_name: str, api_version: str | None = None) -> Any:
        read = self._loader.load_service_model(service_name, "service-2", api_version=api_version)
        if id(read) not in models:
            models[id(read)] = read, load(self, service_name, api_version)
        return models[id(read)][1]

    @functools.wraps(make)
    def methods_of(self: Any, service_model: Any) -> dict[str, Any]:
        key = type(self), service_model
        if key not in methods:
            methods[key] = make(self, service_model)
        return dict(methods[key])

    creator._load_service_model, creator._create_methods = model, methods_of
