"""Why the door says no: OpenAI's form of an error, with the status that its clients go by."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from connection.problems import Problem, Refused

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# What the image itself answers with a no, by the type of its failure.
_OF_THE_IMAGE = {"QueueFull": (429, "queue_full"), "BadMessage": (400, "bad_message")}
RETRY_AFTER = {"Retry-After": "5"}


class Refusal(Exception):
    """`code` is for programs; `param` names the part of the request that is at fault, if one is."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        # Half of a character, as broken JSON has it, cannot be sent on.
        message = str(self).encode(errors="replace").decode()
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        return JSONResponse(self.body(), self.status, self.headers)


def refusal_of(problem: Problem) -> Refusal:
    """What a Problem with the image is to whoever asked at the door."""
    if not isinstance(problem, Refused):
        return Refusal(503, str(problem), "image_unreachable", headers=RETRY_AFTER)
    status, code = _OF_THE_IMAGE.get(problem.kind, (409, "image_refused"))
    return Refusal(status, str(problem), code, headers=RETRY_AFTER if status == 429 else None)


def failed(kind: str, reason: str) -> Refusal:
    """A task or a call of a model failed. It was tried long enough: OpenAI's client need not do so again."""
    return Refusal(502, reason, kind or "failed", headers={"x-should-retry": "false"})


def closing() -> Refusal:
    reason = "the door closes; ask the same again, and you come to the same task"
    return Refusal(503, reason, "closing", headers=RETRY_AFTER)
