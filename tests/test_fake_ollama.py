"""The scripted model server keeps to its script, in a test and as a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from ollama import AsyncClient, ResponseError

from activities.dissonance import DissonanceAnswer
from testbed.fake_ollama import FakeOllama, Script
from testbed.processes import ROOT


async def label(fake: FakeOllama, question: str) -> str:
    answer = await AsyncClient(fake.url).chat(
        "any",
        [{"role": "user", "content": question}],
        format=DissonanceAnswer.model_json_schema(),
    )
    return DissonanceAnswer.model_validate_json(answer.message.content or "").label


async def test_labels_follow_the_script_for_each_task() -> None:
    labels = {"Tea": ["unrelated", "partly_different"], "Walk": ["opposite"]}
    async with FakeOllama(Script(labels=labels)) as fake:
        assert await label(fake, "Tea? first turn") == "unrelated"
        assert await label(fake, "Walk? first turn") == "opposite"
        assert await label(fake, "Tea? second turn") == "partly_different"


async def test_the_same_question_gets_the_same_answer() -> None:
    async with FakeOllama(Script(labels=["unrelated", "partly_different"])) as fake:
        asked = [await label(fake, question) for question in ("first", "first", "second", "third", "second")]
    assert asked == ["unrelated", "unrelated", "partly_different", "unrelated", "partly_different"]


async def test_a_fault_hits_only_the_calls_it_is_meant_for() -> None:
    async with FakeOllama() as fake:
        fake.fail("empty", containing="Walk")
        fake.fail("empty", when=lambda call: call.model == "another")
        assert await label(fake, "Tea?") == "partly_different"
        assert [fault.times for fault in fake.script.faults] == [1, 1]


async def test_a_model_is_pulled_with_progress_or_an_error_among_the_lines() -> None:
    async with FakeOllama(Script(models=["tiny"], unknown_models=["nothing"])) as fake:
        client = AsyncClient(fake.url)
        told = [part async for part in await client.pull("large", stream=True)]
        assert (told[0].status, told[-1].status) == ("pulling manifest", "success")
        assert [part.completed for part in told if part.total] == [n * 1_000_000 for n in range(5)]
        with pytest.raises(ResponseError, match="file does not exist"):
            [part async for part in await client.pull("nothing", stream=True)]
        assert {model.model for model in (await client.list()).models} == {"tiny", "large"}


def test_as_a_process_it_says_its_port_and_lists_its_calls(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"faults": [{"kind": "server_error"}], "models": ["tiny"]}))
    command = [
        sys.executable,
        "-m",
        "testbed.fake_ollama",
        "--port",
        "0",
        "--delay",
        "0",
        "--script",
        str(script),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
            question = {"model": "tiny", "messages": [{"role": "user", "content": "Tea?"}]}
            with httpx.Client(base_url=url, timeout=60) as client:
                assert client.get("/api/tags").json()["models"][0]["name"] == "tiny"
                assert client.post("/api/show", json={"model": "large"}).status_code == 404
                assert client.post("/api/chat", json=question).status_code == 500
                streamed = client.post("/api/chat", json=question).text.splitlines()
                assert json.loads(streamed[-1])["done"]
                whole = client.post("/api/chat", json={**question, "stream": False}).json()
                assert whole["message"]["content"] == "This is answer 1, and it is a short one."
                outcomes = [call["outcome"] for call in client.get("/calls").json()]
                assert outcomes == ["server_error", "answered", "answered"]
        finally:
            process.terminate()
