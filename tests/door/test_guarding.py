"""Who may come in at the door, and how much of it."""

import socket

import httpx
import pytest
from openai import AuthenticationError, RateLimitError

from connection.problems import Problem
from door.app import BODY_BYTES
from door.opening import TOKEN, open_socket
from testbed.world import until
from tests.door.conftest import Doorstep, opened
from tests.door.test_completions import ask
from tests.door.test_streams import Stream


async def test_a_token_opens_the_door_from_anywhere(
    doorstep: Doorstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "sesame ö")
    async with opened(doorstep.world) as guarded:
        for wrong in ("none", "sesame", "sesame o"):
            with pytest.raises(AuthenticationError) as refused:
                await guarded.openai.with_options(api_key=wrong).models.list()
            assert refused.value.code == "invalid_api_key"
        async with httpx.AsyncClient(base_url=guarded.url, timeout=60) as http:
            right = [(b"authorization", "bearer sesame ö".encode()), (b"host", b"example.com")]
            assert (await http.get("/models", headers=right)).status_code == 200
            assert (await http.get("/models")).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:7411", "origin": "http://localhost:3000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:80"}, 403),
        ({"host": "[::1"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_without_one_it_is_for_programs_of_this_machine(
    doorstep: Doorstep, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(base_url=doorstep.url, timeout=60) as http:
        answer = await http.get("/models", headers=headers)
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers
        assert (answer.json().get("error") is not None) is (status == 403)


async def test_a_request_is_bounded(doorstep: Doorstep) -> None:
    async with httpx.AsyncClient(base_url=doorstep.url, timeout=60) as http:
        answer = await http.post("/chat/completions", content=b"[" * (BODY_BYTES + 1))
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"


async def test_so_many_are_served_at_a_time(doorstep: Doorstep) -> None:
    doorstep.ollama.answering.clear()
    async with opened(doorstep.world, most_at_once=2) as narrow:
        streams = [Stream(narrow, f"Stream {number}?") for number in range(2)]
        for stream in streams:
            await stream.until("is argued out")
        with pytest.raises(RateLimitError) as refused:
            await narrow.openai.models.list()
        assert refused.value.code == "too_many_requests"
        assert refused.value.response.headers["retry-after"]
        await streams[0].close()

        async def has_room() -> bool:
            try:
                return bool(await narrow.openai.models.list())
            except RateLimitError:
                return False

        await until(has_room)
        doorstep.ollama.answering.set()
        await streams[1].until()
        assert (await ask(narrow, "Stream 0?")).choices[0].message.content


def test_a_door_that_cannot_be_opened_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(Problem, match=f"set {TOKEN}"):
        open_socket("0.0.0.0", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Problem, match="--door PORT"):
        open_socket("127.0.0.1", taken.getsockname()[1])
    monkeypatch.setenv(TOKEN, "sesame")
    with pytest.raises(Problem, match="--door-host"):
        open_socket("no such host", 0)
    with open_socket("0.0.0.0", 0) as everywhere:
        assert everywhere.getsockname()[0] == "0.0.0.0"
