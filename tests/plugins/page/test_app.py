"""The application by itself: nothing of it is anybody's who is not signed in."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from musher.page.app import make

APP = make()
ROUTES = [(method, route.path) for route in APP.routes for method in sorted(route.methods - {"HEAD"})]


def ask(method: str, address: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://airflow") as client:
            return await client.request(method, address, headers={"Accept": "text/html"})

    return asyncio.run(asked())


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_who_is_signed_out(method, path):
    address = re.sub(r"\{name\}", "musher.css", re.sub(r"\{\w+(:path)?\}", "x", path))
    answer = ask(method, address)
    assert answer.status_code == 401, answer.text
    assert "You are signed out" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_there_are_routes():
    assert len(ROUTES) > 3
    assert not {path for _, path in ROUTES} & {"/docs", "/redoc", "/openapi.json"}
