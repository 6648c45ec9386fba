"""The application by itself: nothing of it is anybody's who is not signed in."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest


@pytest.fixture(scope="module")
def app():
    # Above, each process that collects this would import Airflow's API server, which takes a second.
    from musher.page.app import make

    return make()


@pytest.fixture(scope="module")
def routes(app):
    return [(method, route.path) for route in app.routes for method in sorted(route.methods - {"HEAD"})]


def ask(app, method: str, address: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client:
            return await client.request(method, address, headers={"Accept": "text/html"})

    return asyncio.run(asked())


def test_no_route_answers_who_is_signed_out(app, routes):
    for method, path in routes:
        address = re.sub(r"\{name\}", "musher.css", re.sub(r"\{\w+(:path)?\}", "x", path))
        answer = ask(app, method, address)
        assert answer.status_code == 401, f"{method} {path}: {answer.text}"
        assert "You are signed out" in answer.text, path
        assert answer.headers["content-security-policy"].startswith("default-src 'none'"), path


def test_there_are_routes(routes):
    assert len(routes) > 3
    assert not {path for _, path in routes} & {"/docs", "/redoc", "/openapi.json"}
