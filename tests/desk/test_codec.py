"""The codec server as a process, asked as the Web UI and Temporal's command line do."""

import base64
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from connection.sealing import VARIABLE
from testbed.ports import free_ports
from testbed.processes import TEMPORAL
from testbed.world import World, until
from tests.connection.encrypted import NEW, OLD, OTHER, client_with
from tests.desk.command_line import Starter

UI = "http://127.0.0.1:8233"
WORDS = "The herons are not told."


@asynccontextmanager
async def codec(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """A codec server, and who asks it."""
    port = str(free_ports()[0])
    starter = Starter(folder, "127.0.0.1:1", **{VARIABLE: f"{NEW},{OLD}", **environment})
    process = await starter.begin("codec", "--port", port, *arguments)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{port}"
    try:
        told = "".join([(await process.stdout.readline()).decode() for _ in range(3)])
        assert told.count(url) == 3
        assert f"temporal workflow show --detailed --codec-endpoint {url}" in told
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield client
        process.send_signal(signal.SIGINT)
        ended = await starter.end(process)
        assert (ended.code, ended.err) == (130, "")
    finally:
        starter.stop_all()


async def sealed(keys: str = OLD) -> dict[str, Any]:
    """A payload as it stands in a history and as the Web UI sends it."""
    (payload,) = await (await client_with_no_server(keys)).encode([WORDS])
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return {"payloads": [{"metadata": metadata, "data": base64.b64encode(payload.data).decode()}]}


async def client_with_no_server(keys: str) -> Any:
    from connection.codec import converter_of
    from messages.keys import parse

    return converter_of(parse(keys))


def said(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    (payload,) = answer.json()["payloads"]
    return json.loads(base64.b64decode(payload["data"]))


async def test_it_decodes_for_the_web_ui_and_for_no_other_page(tmp_path: Path) -> None:
    payloads = await sealed()
    async with codec(tmp_path) as client:
        for origin in (UI, "http://localhost:8233"):
            asks = {"Origin": origin, "X-Namespace": "default"}
            answer = await client.post("/decode", json=payloads, headers=asks)
            assert said(answer) == WORDS
            assert answer.headers["access-control-allow-origin"] == origin
            may = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-namespace"}
            preflight = await client.options("/decode", headers={"Origin": origin, **may})
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == origin
        for origin in ("http://127.0.0.1:9999", "https://evil.example", "null"):
            answer = await client.post("/decode", json=payloads, headers={"Origin": origin})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        # A namespace may stand before it; without an Origin no page asks, but a program of this machine.
        assert said(await client.post("/default/decode", json=payloads)) == WORDS


async def test_what_it_encodes_has_the_first_key_and_what_nobody_encrypted_is_left_alone(
    tmp_path: Path,
) -> None:
    plain = {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "IkhpIg=="}]}
    async with codec(tmp_path) as client:
        encoded = (await client.post("/encode", json=plain)).json()
        (payload,) = encoded["payloads"]
        assert base64.b64decode(payload["metadata"]["encryption-key-id"]) == b"new"
        assert "IkhpIg" not in json.dumps(encoded)
        assert said(await client.post("/decode", json=encoded)) == "Hi"
        assert (await client.post("/decode", json=plain)).json() == plain


async def test_it_says_what_it_cannot_do(tmp_path: Path) -> None:
    unknown = await sealed(OTHER)
    async with codec(tmp_path) as client:
        answer = await client.post("/decode", json=unknown)
        assert answer.status_code == 400
        assert "the key 'other', which is not in LIVING_IMAGE_KEYS" in answer.text
        assert (await client.post("/decode", content=b"{")).status_code == 400
        assert (await client.post("/decode", content=b"\xff")).status_code == 400
        assert (await client.post("/download", json=unknown)).status_code == 404
        assert (await client.get("/decode")).status_code == 405


async def test_with_a_token_it_answers_nobody_else(tmp_path: Path) -> None:
    payloads = await sealed()
    async with codec(tmp_path, "--web-ui", "http://ui.example", LIVING_IMAGE_CODEC_TOKEN="s3cret") as client:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}):
            answer = await client.post("/decode", json=payloads, headers=headers)
            assert answer.status_code == 401
        may = {"Authorization": "Bearer s3cret", "Origin": "http://ui.example"}
        assert said(await client.post("/decode", json=payloads, headers=may)) == WORDS
        may["Origin"] = UI
        assert (await client.post("/decode", json=payloads, headers=may)).status_code == 403


async def test_temporals_own_command_line_reads_a_history_through_it(world: World, tmp_path: Path) -> None:
    keyed = await client_with(world.address, OLD)
    await keyed.start_workflow("Nothing", WORDS, id=f"{world.name}-words", task_queue="nobody")
    async with codec(tmp_path) as client:
        command = [str(TEMPORAL), "workflow", "show", "--workflow-id", f"{world.name}-words"]
        command += ["--address", world.address, "--detailed", "--codec-endpoint", str(client.base_url)]
        shown = await until(lambda: output_of(command))
    assert WORDS in shown


async def output_of(command: list[str]) -> str:
    import asyncio

    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {VARIABLE: ""}, "LIVING_IMAGE_KEYS is not set, so nothing can be decrypted"),
        (["--host", "0.0.0.0"], {}, "set LIVING_IMAGE_CODEC_TOKEN, which they have to send"),
        (["--web-ui", "localhost:8233"], {}, "is no address of a Web UI"),
        (["--host", "nowhere.invalid"], {"LIVING_IMAGE_CODEC_TOKEN": "t"}, "choose another --port"),
    ],
)
async def test_what_it_cannot_begin_with_is_one_sentence(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    ran = await Starter(tmp_path, "127.0.0.1:1", **{VARIABLE: OLD, **environment})("codec", *arguments)
    assert ran.code == 2
    assert says in ran.sentence
