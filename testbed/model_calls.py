"""What is asked of the scripted model server."""

from typing import Any, Literal

from pydantic import BaseModel

Asks = Literal["plan", "dissonance", "goals", "scores", "candidates", "compare", "text"]


class Call(BaseModel):
    """One request to /api/chat. `outcome`: answering, answered, abandoned (by the client) or the fault."""

    asks: Asks
    model: str
    system: str
    user: str
    stream: bool
    options: dict[str, Any]
    think: bool | None = None
    scores: int = 0
    outcome: str = "answering"
    authorization: str = ""


class Embedding(BaseModel):
    """One request to /api/embed."""

    model: str
    texts: list[str]


def read_call(body: dict[str, Any], authorization: str = "") -> Call:
    """The body of a request to /api/chat: the form of the answer tells what it asks for."""
    said = {message["role"]: message["content"] for message in body["messages"]}
    form = (body.get("format") or {}).get("properties", {})
    told_by: dict[str, Asks] = {
        "label": "dissonance",
        "needs_research": "plan",
        "goals": "goals",
        "scores": "scores",
        "candidates": "candidates",
        "better": "compare",
    }
    asks: Asks = next((asks for key, asks in told_by.items() if key in form), "text")
    return Call(
        asks=asks,
        model=body["model"],
        system=said.get("system", ""),
        user=said.get("user", ""),
        stream=body.get("stream", True),
        options=body.get("options") or {},
        think=body.get("think"),
        scores=form.get("scores", {}).get("minItems", 0),
        authorization=authorization,
    )
