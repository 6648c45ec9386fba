"""Run as a program: Airflow's own API server with our plugin, asked by people with different rights. Prints what it
answers, as JSON.

No server, no port, no migration: the tables as the models have them, and calls of the application itself.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

USERS = {"operator": "user", "viewer": "viewer"}
CALLS = {
    "page": ("GET", "/musher/", None),
    "style": ("GET", "/musher/static/musher.css", None),
    "no run": ("GET", "/musher/report/train_image_classifier/none", None),
    "photo": ("POST", "/musher/try", {"url": "https://example.com/dog.jpg"}),
}


async def main() -> dict[str, Any]:
    from airflow import settings
    from airflow.api_fastapi.app import create_app
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    Base.metadata.create_all(settings.engine)
    app = create_app()
    found: dict[str, Any] = {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client,
    ):
        tokens = {"": ""}
        for user in USERS:
            answer = await client.post("/auth/token", json={"username": user, "password": user})
            tokens[user] = answer.json()["access_token"]
        for user, token in tokens.items():
            for name, (method, path, body) in CALLS.items():
                headers = {"Cookie": f"_token={token}"} if token else {}
                answer = await client.request(method, path, json=body, headers=headers)
                found[f"{user or 'nobody'}: {name}"] = [answer.status_code, answer.text]
        headers = {"Authorization": f"Bearer {tokens['operator']}"}
        found["plugins"] = (await client.get("/api/v2/plugins", headers=headers)).json()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
