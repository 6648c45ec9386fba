"""How pages are sent: rendered, and with what keeps everything out that is not ours."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, Response

HERE = Path(__file__).parent
# Scripts and styles come from this application alone; a template cannot have any of its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
# A report is a file in a bucket: whatever is in it, it runs nothing and loads nothing. The page around it looks at it
# (where it was scrolled to, the theme), for which it has to be of one origin with that.
REPORT_POLICY = (
    "sandbox allow-same-origin; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
)
REFUSED_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


def page(request: Request, template: str, **values: Any) -> HTMLResponse:
    """A page from its template."""
    root = request.scope.get("root_path", "")
    return _html(_rendered(template, root=root, asset=_asset, **values), POLICY)


def report(html: str) -> HTMLResponse:
    """A report from the bucket."""
    return _html(html, REPORT_POLICY)


def static(name: str) -> Response:
    """A file of static/. Its address has its digest (`_asset`), so that browsers may keep it."""
    found = _files().get(name)
    if found is None:
        raise HTTPException(404, f"There is no file {name}.")
    content, kind, _ = found
    return Response(content, 200, {**HEADERS, "Cache-Control": "private, max-age=86400"}, kind)


def refused(request: Request, error: Any) -> Response:
    """Why a request is not answered: a page for people, JSON for programs."""
    if "text/html" not in request.headers.get("accept", ""):
        from fastapi.responses import JSONResponse

        return JSONResponse({"detail": error.detail}, error.status_code, {**(error.headers or {}), **HEADERS})
    text = _rendered("refused.html.jinja", code=error.status_code, detail=error.detail)
    return _html(text, REFUSED_POLICY, error.status_code)


def _rendered(template: str, **values: Any) -> str:
    from musher.report.page import templates

    return templates(HERE / "templates").get_template(template).render(**values)


def _html(text: str, policy: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status, {**HEADERS, "Content-Security-Policy": policy})


def _asset(name: str) -> str:
    return f"{name}?v={_files()[name][2]}"


@functools.cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Content, type and digest of each file of static/."""
    found = {}
    for file in sorted((HERE / "static").iterdir()):
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        found[file.name] = (content, kind, hashlib.sha256(content).hexdigest()[:12])
    return found
