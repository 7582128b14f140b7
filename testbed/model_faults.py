"""What goes wrong with the answers of the scripted model server."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from testbed.model_calls import Asks, Call

FaultKind = Literal[
    "not_pulled",  # 404
    "refused",  # 400
    "wrong_key",  # 401, which tells the key that it got
    "server_error",  # 500
    "error_midway",  # an error line in the middle of the stream
    "drop",  # the connection breaks in the middle of the answer
    "no_end",  # the stream ends without its last line
    "cut_off",  # done_reason "length"
    "too_long",  # an answer of 20 kB
    "empty",  # nothing but white space
    "not_json",  # prose where JSON was asked for, and not a line of NDJSON is wrong
    "unknown_label",  # JSON with a label outside the set
    "not_ollama",  # 200 and a web page
    "surrogate",  # half of a character, as JSON may escape it
    "line_ends",  # characters that end a line for some readers, and not for JSON
    "slow",  # silence until the client goes away
]

EmbeddingFault = Literal[
    "400",
    "500",
    "nan",  # 200, and a vector that is none
    "short",  # 200, and a vector of another dimension
    "slow",  # an answer after some seconds
]

FAULTY_CONTENT = {
    "empty": " \n ",
    "not_json": "I would rather say it in my own words.",
    "unknown_label": '{"label": "somewhat"}',
    "too_long": "word " * 4_000,
    "surrogate": '{"plan": "Half a \ud83d face.", "needs_research": false}',
    "line_ends": "One\u2028two\x85three four.",
}


class Fault(BaseModel):
    """What goes wrong for the next `times` calls that match all that is given."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    times: int = 1
    asks: Asks | None = None
    containing: str = ""
    when: Callable[[Call], bool] | None = Field(default=None, exclude=True)

    def matches(self, call: Call) -> bool:
        return (
            self.times > 0
            and self.asks in (None, call.asks)
            and self.containing in call.system + call.user
            and (self.when is None or self.when(call))
        )


def next_fault(faults: list[Fault], call: Call) -> FaultKind | None:
    """The first fault that matches is used up by one."""
    for fault in faults:
        if fault.matches(call):
            fault.times -= 1
            if fault.kind != "slow":
                call.outcome = fault.kind
            return fault.kind
    return None


def refusal(call: Call, fault: FaultKind | None) -> Response | None:
    match fault:
        case "not_pulled":
            return not_pulled(call.model)
        case "refused":
            return JSONResponse({"error": "invalid options"}, status_code=400)
        case "wrong_key":
            return JSONResponse({"error": f"no such key: {call.authorization}"}, status_code=401)
        case "server_error":
            return JSONResponse({"error": "llama runner process has terminated"}, status_code=500)
        case "not_ollama":
            return Response("<html>It works!</html>", media_type="text/html")
    return None


def not_pulled(model: str) -> Response:
    return JSONResponse({"error": f"model '{model}' not found"}, status_code=404)
