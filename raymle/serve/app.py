"""One ASGI app over one model: validate, predict, answer; every fault of a client's is a typed 4xx."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable

import numpy as np
import pyarrow as pa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from raymle.records import Schema
from raymle.serve import wire
from raymle.serve.openapi import openapi
from raymle.serve.wire import Limits, RequestError

Predict = Callable[[pa.Table], Awaitable[np.ndarray]]
Endpoint = Callable[[Request], Awaitable[Response]]


def application(
    predict: Predict, schema: Schema, *, name: str, version: str, limits: Limits | None = None
) -> Starlette:
    """Return the app of a loaded model; ``predict`` takes a table of features that was checked."""
    limits = limits or Limits()
    document = wire.encode(openapi(schema, name=name, version=version, limits=limits))

    async def post_predict(request: Request) -> Response:
        table = wire.parse(await _body(request, limits), schema, limits)
        return _json(wire.answer(await predict(table), schema, version))

    async def live(_: Request) -> Response:
        return _json(wire.encode({"status": "live"}))

    async def ready(_: Request) -> Response:
        return _json(wire.encode({"status": "ready", "model": name, "version": version}))

    async def describe(_: Request) -> Response:
        return _json(document)

    routes = {
        "/predict": post_predict,
        "/health/live": live,
        "/health/ready": ready,
        "/openapi.json": describe,
    }
    return Starlette(
        routes=[
            Route(path, _framed(endpoint, version), methods=["POST" if endpoint is post_predict else "GET"])
            for path, endpoint in routes.items()
        ],
        exception_handlers={HTTPException: _http_error},
    )


def _framed(endpoint: Endpoint, version: str) -> Endpoint:
    """Turn refusals into their response, and put the two headers on every response."""

    async def framed(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except RequestError as refused:
            response = _json(wire.error(refused), refused.status)
        response.headers["X-Model-Version"] = version
        response.headers["X-Request-Id"] = _request_id(request)
        return response

    return framed


async def _body(request: Request, limits: Limits) -> bytes:
    """Read the body, keep no more of it than the limit, then judge its headers and its size."""
    headers = request.headers
    wire.check_length(headers.get("content-length", ""), limits)
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body:
                    body += chunk
                elif size > limits.read:
                    break
    except TimeoutError:
        raise RequestError(f"the body took over {limits.seconds:g} s", status=408, kind="timeout") from None
    except ClientDisconnect:
        raise RequestError("the client left before the body was whole", kind="disconnected") from None
    wire.check_type(headers.get("content-type", ""), headers.get("content-encoding", ""))
    if size > limits.body:
        raise wire.too_large(limits)
    return bytes(body)


async def _http_error(_: Request, exception: Exception) -> Response:
    status = exception.status_code if isinstance(exception, HTTPException) else 500
    kind = {404: "not_found", 405: "method_not_allowed"}.get(status, "bad_request")
    message = f"{kind.replace('_', ' ')}; the paths are in /openapi.json"
    response = _json(wire.error(RequestError(message, status=status, kind=kind)), status)
    response.headers.update(getattr(exception, "headers", None) or {})
    return response


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _request_id(request: Request) -> str:
    """Return the caller's id when it is harmless in a log line, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else secrets.token_hex(8)
