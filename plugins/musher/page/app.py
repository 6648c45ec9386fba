"""The application: its routes, each of which asks for Airflow's own rights."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as Refusal

from musher.errors import UserError
from musher.page import answers, overview, past, photo, report, runs
from musher.page.aws import Aws
from musher.page.reader import Reader, Seen
from musher.page.rights import User, may_deploy, may_read_deployments, may_read_run, signed_in


def make() -> FastAPI:
    """The application, with nothing read yet."""
    app = FastAPI(title="Musher", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(Refusal, answers.refused)
    aws, reader, turns = Aws(), Reader(), photo.Turns()

    @app.get("/static/{name}", dependencies=[signed_in])
    def static(name: str) -> Response:
        return answers.static(name)

    async def seen(dag_id: str, run_id: str) -> tuple[runs.Shown, Seen]:
        shown = await run_in_threadpool(runs.find, dag_id, run_id)
        if shown is None:
            raise HTTPException(404, f"The DAG {dag_id} has no run {run_id}.")
        return shown, await reader.look(("report", shown.dag_id, shown.run_id), report.reading(aws, shown))

    @app.get("/", dependencies=[may_read_deployments])
    async def musher(request: Request, user: User) -> Response:
        """The page in the navigation."""
        rights = await run_in_threadpool(overview.rights, user)
        seen = await overview.look(aws, reader, rights)
        return answers.page(request, "overview.html.jinja", **overview.shown(seen, rights))

    @app.get("/compare", dependencies=[may_read_deployments])
    async def compare(request: Request, user: User, a: str, b: str) -> Response:
        """Two runs beside each other, each named as `<DAG>/<run>`."""
        rights = await run_in_threadpool(overview.rights, user)
        known = {f"{each.dag}/{each.run_id}": each for each in overview.runs(await overview.look(aws, reader, rights))}
        missing = [each for each in (a, b) if each not in known]
        if missing:
            raise HTTPException(404, f"The history has no run {missing[0]}; it has the newest thousand of each DAG.")
        lines = past.side_by_side(known[a], known[b])
        return answers.page(request, "compare.html.jinja", a=known[a], b=known[b], lines=lines)

    @app.post("/try", dependencies=[may_deploy])
    async def try_photo(request: Request, user: User) -> Response:
        """What the function says of a photo. A call of AWS in a request, since somebody wants its answer."""
        try:
            asked = photo.event(await _body(request, photo.MOST_BYTES))
            turns.take(str(user.get_id()))
            try:
                told = await run_in_threadpool(photo.ask, aws, asked)
            finally:
                turns.give_back()
        except (photo.Refused, UserError) as error:
            # not the photo's fault: such as a Variable that is missing
            status = error.status if isinstance(error, photo.Refused) else 409
            return JSONResponse({"error": str(error)}, status, headers=answers.HEADERS)
        return JSONResponse(told, headers=answers.HEADERS)

    @app.get("/report/{dag_id}/{run_id:path}", dependencies=[may_read_run])
    async def tab(request: Request, dag_id: str, run_id: str) -> Response:
        """The tab "Report" of a run: the report in a frame, and around it how fresh it is."""
        shown, known = await seen(dag_id, run_id)
        return answers.page(request, "report.html.jinja", run=shown, state=_state(shown, known))

    @app.get("/state/{dag_id}/{run_id:path}", dependencies=[may_read_run])
    async def state(dag_id: str, run_id: str) -> Response:
        """How fresh it is, for the tab that is open."""
        return JSONResponse(_state(*await seen(dag_id, run_id)), headers=answers.HEADERS)

    @app.get("/document/{dag_id}/{run_id:path}", dependencies=[may_read_run])
    async def document(dag_id: str, run_id: str) -> Response:
        """The report itself."""
        _, known = await seen(dag_id, run_id)
        return answers.report(known.value.html if known.value else "")

    return app


async def _body(request: Request, most: int) -> bytes:
    """The body of a request that a page of this server has made. Raises photo.Refused."""
    # A form of another site could send a person's cookie along, and no form sends JSON.
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise photo.Refused(415, "The request has to be application/json.")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise photo.Refused(403, "The request has to come from this page.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise photo.Refused(
                413, f"Lambda takes {most / 2**20:g} MB a call, and base64 makes a photo a third larger."
            )
    return bytes(body)


def _state(run: runs.Shown, known: Seen) -> dict[str, Any]:
    """What the tab says of a run's report: `version` empty where there is none yet."""
    value = known.value or report.Report()
    return {
        "version": value.version if value.html else "",
        "unfinished": run.unfinished,
        "finished_report": value.finished,
        "age_seconds": known.age_seconds,
        "problem": known.problem,
        "notes": list(value.notes),
        "record": "" if run.own else run.key,
        "sentence": _sentence(run, value, known),
    }


def _sentence(run: runs.Shown, value: report.Report, known: Seen) -> str:
    """What is to be said above the report, or in its place."""
    if known.at is None:
        return "" if known.problem else "Reading the run's record …"
    if value.html:
        if value.finished:
            return "The finished report."
        if run.unfinished:
            return "The run goes on: this is what is known so far. Charts come with the finished report."
        if value.superseded:
            return (
                "A deployment adds to this record: this is what is known so far, until its report has the charts again."
            )
        return "The run has ended before its report: this is what its tasks have written."
    if value.notes:
        return ""
    if run.unfinished:
        return "Nothing is known yet: the report fills in as the run's tasks end."
    return "This run has left no record: there is nothing to report."
