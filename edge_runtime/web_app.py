"""The web page and the REST API of a running camera: its routes, and what each of them answers.

Reads what `WebSink` holds and two callables; knows neither the camera nor the engine, and does not listen itself.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fer_edge import __version__
from fer_edge.devices.errors import FerEdgeError
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.annotate import annotated as drawn
from fer_edge.edge_runtime.record import observation_record
from fer_edge.edge_runtime.status import OF_SINGLE_FACES
from fer_edge.edge_runtime.vocabulary import Observation
from fer_edge.edge_runtime.web_guard import Guard, sentence
from fer_edge.edge_runtime.web_photo import RateLimit, decoded, discard, photo_bytes
from fer_edge.edge_runtime.web_sink import WebSink, jpeg_of

Status = Callable[[], dict[str, Any]]
Predict = Callable[[NDArray[np.uint8]], Observation]

_HOME = Path(__file__).parent / "web"
_ASSETS = {
    **dict.fromkeys(("app.js", "faces.js", "status.js", "docs.js"), "text/javascript"),
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_EVENT_EVERY_S = 0.1
_STATUS_EVERY_S = 1.0
_STALE_S = 2.0
_MAX_VIEWERS = 16
_MAX_UPLOADS = 4
_PHOTO_SIDE = 1600
# Where faces are hidden: who asks often enough would follow a single face by finer counts.
_HIDDEN_STEP_S = 60
_HIDDEN = "this device shows counts only; pictures and single faces are switched off"
_BUSY = "too many are looking at this device; try again later"
_PHOTO_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("jpeg", "png", "webp")},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"photo": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


def build_app(
    sink: WebSink,
    status: Status,
    predict: Predict,
    *,
    token: str | None,
    show_faces: bool = True,
    hosts: Collection[str] = (),
) -> FastAPI:
    """The ASGI application; `WebServer` runs it and ends its streams by `app.state.close_streams`.

    Args:
        sink: what the camera loop fills.
        status: the state of the run; called on a thread, at most once a second but by /metrics.
        predict: labels one (H, W, 3) uint8 BGR photo; called on a thread, one at a time.
        token: what every route but /healthz asks for; None asks nothing.
        show_faces: False gives counts by minute and health only, neither pictures nor single faces.
        hosts: further names under which the page may be asked for, such as the address it is bound to.
    """
    app = FastAPI(title="fer-edge", version=__version__, docs_url=None, redoc_url=None)
    pages, live, photos = _Pages(show_faces), _Live(sink, status, show_faces), _Photos(predict, status, show_faces)
    get = app.get
    get("/", include_in_schema=False)(pages.index)
    get("/docs", include_in_schema=False)(pages.docs)
    get("/web/{name}", include_in_schema=False)(pages.asset)
    get("/stream.mjpg", summary="The annotated picture, multipart/x-mixed-replace", response_class=Response)(
        live.stream
    )
    get("/v1/events", summary="Server-sent events: observation and status", response_class=Response)(live.events)
    get("/v1/status", summary="State, counts, latency, health")(live.status)
    get("/v1/timeline", summary="Labels of the last five minutes by second")(live.timeline)
    get("/healthz", summary="200 while the camera is live, else 503; needs no token")(live.healthz)
    get("/metrics", summary="For Prometheus", response_class=Response)(live.metrics)
    app.post("/v1/predict", summary="Label the faces of a photo", openapi_extra=_PHOTO_BODY)(photos.predict)
    for kind in (HTTPException, RequestValidationError, FerEdgeError):
        app.add_exception_handler(kind, _as_sentence)
    app.add_middleware(Guard, token=token, hosts=hosts)
    app.state.close_streams = live.close_streams
    return app


def _as_sentence(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return sentence(error.status_code, error.detail, dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        what = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
        return sentence(422, f"the request does not fit: {what}")
    return sentence(500, str(error))


class _Pages:
    """What is read from the folder `web`, and nothing else is."""

    def __init__(self, show_faces: bool) -> None:
        self._show_faces = show_faces

    async def index(self) -> Response:
        html = (_HOME / "index.html").read_text(encoding="utf-8")
        return HTMLResponse(html if self._show_faces else html.replace('data-faces="shown"', 'data-faces="hidden"'))

    async def docs(self) -> Response:
        return FileResponse(_HOME / "docs.html", media_type="text/html")

    async def asset(self, name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404, "there is no such file")
        return FileResponse(_HOME / name, media_type=_ASSETS[name], headers={"Cache-Control": "no-cache"})


class _Live:
    """What the camera gives at the moment."""

    def __init__(self, sink: WebSink, status: Status, show_faces: bool) -> None:
        self._sink, self._ask, self._show_faces = sink, status, show_faces
        self._stopping = False
        self._viewers = 0
        self._status: dict[str, Any] = {}
        self._status_at = -math.inf
        self._one_asks = asyncio.Lock()

    def close_streams(self) -> None:
        """From any thread: let every stream end, and no new one begin."""
        self._stopping = True
        self._sink.wake()

    async def stream(self) -> Response:
        if not self._show_faces:
            raise HTTPException(403, _HIDDEN)
        self._check_room()
        return StreamingResponse(self._parts(), media_type="multipart/x-mixed-replace; boundary=frame")

    async def events(self) -> Response:
        self._check_room()
        return StreamingResponse(self._messages(), media_type="text/event-stream")

    async def status(self) -> Response:
        return JSONResponse({"v": 1, **await self._current()})

    async def timeline(self) -> Response:
        return JSONResponse(self._sink.timeline.as_dict(1 if self._show_faces else _HIDDEN_STEP_S))

    async def healthz(self) -> Response:
        state = (await self._current())["state"]
        if state == "live":
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": state}, 503)

    async def metrics(self) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        from fer_edge.edge_runtime.metrics import registry

        text = await run_in_threadpool(generate_latest, registry(self._ask, faces=self._show_faces))
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    def _check_room(self) -> None:
        if self._stopping or self._viewers >= 2 * _MAX_VIEWERS:
            raise HTTPException(503, _BUSY, {"Retry-After": "10"})

    async def _current(self) -> dict[str, Any]:
        async with self._one_asks:
            if time.monotonic() - self._status_at >= _STATUS_EVERY_S:
                status = await run_in_threadpool(self._ask)
                hidden = () if self._show_faces else OF_SINGLE_FACES
                self._status = {key: value for key, value in status.items() if key not in hidden}
                self._status_at = time.monotonic()
        return self._status

    async def _parts(self) -> AsyncIterator[bytes]:
        """Each part is followed by its boundary at once: browsers show a picture only when they see where it ends."""
        shown = 0
        with self._sink.watch(pictures=True) as watcher:
            self._viewers += 1
            try:
                yield b"--frame\r\n"
                newest = self._sink.newest
                while not self._stopping:
                    if newest.jpeg and newest.jpeg_seq != shown and time.monotonic() - newest.jpeg_at < _STALE_S:
                        shown = newest.jpeg_seq
                        head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(newest.jpeg)
                        yield head + newest.jpeg + b"\r\n--frame\r\n"
                    if self._sink.closed:
                        return
                    newest = await watcher.change(5.0)
            finally:
                self._viewers -= 1

    async def _messages(self) -> AsyncIterator[str]:
        told, told_status = -1, None
        with self._sink.watch(pictures=False) as watcher:
            self._viewers += 1
            try:
                yield "retry: 1000\n\n"
                newest = self._sink.newest
                while not self._stopping:
                    record = newest.record if newest.seq != told and self._show_faces else None
                    status = await self._current()
                    message = {"v": 1, "observation": record, "status": None if status is told_status else status}
                    told, told_status = newest.seq, status
                    yield f"data: {json.dumps(message, separators=(',', ':'))}\n\n"
                    await asyncio.sleep(_EVENT_EVERY_S)
                    newest = await watcher.change(1.0)
            finally:
                self._viewers -= 1


class _Photos:
    """Photos that are sent, one after the other."""

    def __init__(self, predict: Predict, status: Status, show_faces: bool) -> None:
        self._label, self._ask, self._show_faces = predict, status, show_faces
        self._rate = RateLimit()
        self._waiting = 0
        self._one_at_a_time = asyncio.Lock()

    async def predict(
        self, request: Request, annotated: Annotated[bool, Query(description="Answer with the drawn JPEG.")] = False
    ) -> Response:
        if not self._show_faces:
            raise HTTPException(403, _HIDDEN)
        wait_s = self._rate.wait_s(request.client.host if request.client else "")
        if wait_s or self._waiting >= _MAX_UPLOADS:
            await discard(request)
            after = str(math.ceil(wait_s or 2))
            raise HTTPException(429, f"too many photos at once; wait {after} s", {"Retry-After": after})
        self._waiting += 1
        try:
            photo = await photo_bytes(request)
            async with self._one_at_a_time:
                return await run_in_threadpool(self._answer, photo, annotated)
        finally:
            self._waiting -= 1

    def _answer(self, photo: bytes, annotated: bool) -> Response:
        bgr = decoded(photo)
        begun = time.perf_counter_ns()
        observation = self._label(bgr)
        ms = (time.perf_counter_ns() - begun) / 1e6
        if annotated:
            frame = Frame(bgr[..., 0], bgr, 0, 0)
            return Response(jpeg_of(drawn(frame, observation), _PHOTO_SIDE), media_type="image/jpeg")
        faces = observation_record(observation)["faces"]
        for face in faces:
            del face["track_id"]  # a photo has no track
        status, (height, width) = self._ask(), bgr.shape[:2]
        about = {"bundle": status.get("bundle"), "engine": status.get("engine"), "ms": round(ms, 3)}
        return JSONResponse({"v": 1, "width": width, "height": height, "faces": faces, **about})
