"""Who may come in: a token where one is set, else programs of this machine, and never too many at once."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from connection.callers import BearerToken, is_here
from door.opening import TOKEN
from door.refusals import RETRY_AFTER, Refusal

MOST_AT_ONCE = 64
"""Requests under way, streams and waiting ones included."""


class Guard:
    """Stands before the app, which only sees what may come in."""

    def __init__(self, app: ASGIApp, token: str, most_at_once: int) -> None:
        self._app = app
        self._token = BearerToken(token) if token else None
        self._most_at_once = most_at_once
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(Headers(scope=scope))
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    def _check(self, headers: Headers) -> None:
        if self._token:
            if not self._token.is_in(headers.get("authorization", "")):
                raise Refusal(
                    401,
                    f"the door wants the token of {TOKEN}: Authorization: Bearer ...",
                    "invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        else:
            _require_here(headers)
        if self._inside >= self._most_at_once:
            raise Refusal(
                429,
                f"{self._inside} requests are under way at this door, which is all that it serves at a time",
                "too_many_requests",
                headers=RETRY_AFTER,
            )


def _require_here(headers: Headers) -> None:
    """Without a token a page of somebody else's could ask through a browser on this machine."""
    named = {"host": f"//{headers.get('host', '')}", "origin": headers.get("origin", "//localhost")}
    for name, url in named.items():
        try:
            here = is_here(urlsplit(url).hostname or "")
        except ValueError:
            here = False
        if not here:
            raise Refusal(
                403,
                f"without a token ({TOKEN}) the door is for this machine alone: {name}",
                f"foreign_{name}",
            )
