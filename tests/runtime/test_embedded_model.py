"""The embedded model's process, with a real model in it, asked by the real `ollama` client.

The model is SmolLM2-135M (requirements-test-model.lock). Its answers are nonsense: only shapes are asserted.
"""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from ollama import AsyncClient, ResponseError
from temporalio.testing import WorkflowEnvironment

from activities.memory.recall import Memory
from activities.memory.store import MemoryStore
from activities.model_server.backend import ModelBackend
from activities.personas import Personas
from messages.memory import RecallRequest
from testbed.processes import ROOT
from tests.activities.asking import Attempt, a_call, failure_of
from tests.runtime.worker_process import tiny_model

NAME = "smollm2-135m-instruct"
GREETING = [{"role": "user", "content": "Say hello."}]
LABELS = ["same", "opposite"]
LABEL_SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": LABELS}},
    "required": ["label"],
    "additionalProperties": False,
}
# Fills the context, for minutes; llama.cpp's grammars count to 2,000.
ENDLESS_SCHEMA = {"type": "array", "items": {"enum": ["again and again and on and on"]}, "minItems": 1900}


def command(gguf: Path) -> list[str]:
    return [sys.executable, "-m", "runtime.embedded_model", "--gguf", str(gguf), "--name", NAME]


@pytest.fixture(scope="module")
def gguf() -> Path:
    return tiny_model()


@pytest.fixture(scope="module")
def host(gguf: Path) -> Iterator[str]:
    with subprocess.Popen(command(gguf), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["model"] == NAME
        yield f"http://127.0.0.1:{ready['port']}"
        process.terminate()


@pytest.fixture
def client(host: str) -> AsyncClient:
    return AsyncClient(host=host, trust_env=False)


@pytest.fixture
async def http(host: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=host, trust_env=False, timeout=None) as http:
        yield http


async def test_it_lists_and_shows_the_one_model_it_runs(client: AsyncClient, gguf: Path) -> None:
    (listed,) = (await client.list()).models
    (loaded,) = (await client.ps()).models
    shown = await client.show(NAME)
    assert listed.model == loaded.model == NAME
    assert listed.size == gguf.stat().st_size  # noqa: ASYNC240
    assert listed.digest == hashlib.sha256(gguf.read_bytes()).hexdigest()  # noqa: ASYNC240
    assert loaded.context_length is not None
    assert loaded.context_length >= 4096
    assert shown.details is not None
    assert shown.details.quantization_level == "Q4_1"
    assert shown.capabilities == ["completion", "embedding"]


async def test_a_health_check_and_the_version_answer(http: httpx.AsyncClient) -> None:
    assert (await http.get("/")).status_code == 200
    assert (await http.head("/")).status_code == 200
    assert (await http.get("/api/version")).json()["version"]


async def test_an_answer_cut_at_num_predict_says_so_and_counts_its_tokens(client: AsyncClient) -> None:
    options = {"num_predict": 5, "temperature": 0.7, "seed": 1, "num_ctx": 2048}
    answer = await client.chat(NAME, GREETING, options=options)
    assert answer.done
    assert answer.done_reason == "length"
    assert answer.eval_count == 5
    assert answer.message.content
    assert answer.prompt_eval_count
    assert answer.total_duration
    assert answer.eval_duration
    assert answer.total_duration >= answer.eval_duration


async def test_a_streamed_answer_comes_in_pieces_and_ends_with_the_figures(client: AsyncClient) -> None:
    # At temperature 0 the answer is the same each time, and longer than this.
    options = {"num_predict": 4, "temperature": 0}
    stream = await client.chat(NAME, GREETING, stream=True, options=options)
    *pieces, last = [part async for part in stream]
    assert len(pieces) > 1
    assert all(piece.message.content and not piece.done for piece in pieces)
    assert last.done
    assert last.done_reason == "length"
    assert last.eval_count == 4


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_keeps_to_its_schema(client: AsyncClient, stream: bool) -> None:
    if stream:
        parts = [part async for part in await client.chat(NAME, GREETING, stream=True, format=LABEL_SCHEMA)]
    else:
        parts = [await client.chat(NAME, GREETING, format=LABEL_SCHEMA)]
    assert json.loads("".join(part.message.content or "" for part in parts))["label"] in LABELS
    assert parts[-1].done_reason == "stop"


async def test_the_format_json_gives_an_object(client: AsyncClient) -> None:
    # More tokens than the white space or code fence that llama.cpp lets come first and takes away.
    answer = await client.chat(NAME, GREETING, format="json", options={"num_predict": 40})
    assert (answer.message.content or "").lstrip().startswith("{")


async def test_a_line_end_inside_of_an_answer_is_no_end_of_a_line(client: AsyncClient) -> None:
    said = "one\u2028two\x85three"
    form = {"type": "object", "properties": {"said": {"enum": [said]}}, "required": ["said"]}
    answer = await client.chat(NAME, GREETING, format=form, options={"temperature": 0})
    assert json.loads(answer.message.content or "") == {"said": said}


async def test_a_stop_text_ends_the_answer_before_it(client: AsyncClient) -> None:
    answer = await client.chat(NAME, GREETING, format=LABEL_SCHEMA, options={"stop": ["label"]})
    assert "label" not in (answer.message.content or "")
    assert answer.done_reason == "stop"


async def test_the_tag_latest_is_the_same_model(client: AsyncClient) -> None:
    assert (await client.chat(f"{NAME}:latest", GREETING, options={"num_predict": 1})).done


async def test_texts_are_embedded_one_vector_each(client: AsyncClient) -> None:
    two = await client.embed(NAME, ["a cat", "a dog"])
    one = await client.embed(NAME, "a text far longer than what is embedded in one go " * 200)
    assert len(two.embeddings) == 2
    assert {len(vector) for vector in (*two.embeddings, *one.embeddings)} == {576}
    assert two.prompt_eval_count


async def test_the_memory_is_embedded_by_it_only_if_it_is_the_model_for_embeddings(
    host: str, tmp_path: Path, server: WorkflowEnvironment
) -> None:
    store = MemoryStore(tmp_path / "memory.db")
    entry = {"image_id": "nobody", "task_id": "old", "task": "Why trees?", "synthesis": "Trees give shade."}
    store.add([entry | {"finished_at": "2026-01-01T12:00:00Z"}])
    memory = Memory(server.client, ModelBackend(kind="embedded", host=host, model=NAME), store)
    wanted = RecallRequest(
        image_id="nobody",
        task_id="new",
        text="Why trees?\nTrees give shade.",
        host="",
        model=NAME,
        most=3,
    )
    own = await memory.look_up(wanted)
    assert own.means == f"embeddings {NAME}"
    assert [round(item.score, 2) for item in own.items] == [1.0]
    assert not store.without_vector("nobody", NAME, 576)
    other = await memory.look_up(wanted.model_copy(update={"model": "nomic-embed-text"}))
    assert other.means == "shared words (no embedding model nomic-embed-text)"
    assert [item.task_id for item in other.items] == ["old"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_a_404_with_the_reason(client: AsyncClient, stream: bool) -> None:
    with pytest.raises(ResponseError, match="'gemma2' not found") as refusal:
        answer = await client.chat("gemma2", GREETING, stream=stream)  # type: ignore[call-overload]
        [part async for part in answer]
    assert refusal.value.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_longer_than_the_context_is_a_400(client: AsyncClient, stream: bool) -> None:
    endless = [{"role": "user", "content": "word " * 10_000}]
    with pytest.raises(ResponseError, match="exceeds the available context") as refusal:
        answer = await client.chat(NAME, endless, stream=stream)  # type: ignore[call-overload]
        [part async for part in answer]
    assert refusal.value.status_code == 400


async def test_a_persona_is_told_by_name_of_a_prompt_longer_than_the_context(host: str) -> None:
    personas = Personas(ModelBackend(kind="embedded", host=host, model=NAME))
    call = a_call("", fields={"task": "word " * 10_000, "thesis": "Tea."})
    failure = await failure_of(Attempt(), personas.speak, call)
    await personas.close()
    assert failure.type == "PromptTooLong"
    assert failure.non_retryable
    assert "exceeds the available context" in failure.message
    assert "shorten the task" in failure.message


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b"[]",
        b"{}",
        json.dumps({"model": NAME}).encode(),
        json.dumps({"model": NAME, "messages": "hello"}).encode(),
        json.dumps({"model": NAME, "messages": GREETING, "format": "xml"}).encode(),
        json.dumps({"model": NAME, "messages": GREETING, "format": {"type": "nonsense"}}).encode(),
        json.dumps({"model": NAME, "messages": GREETING, "options": "hot"}).encode(),
        json.dumps({"model": NAME, "messages": GREETING, "options": {"temperature": "hot"}}).encode(),
        json.dumps({"model": NAME, "messages": GREETING, "tools": [{}]}).encode(),
    ],
)
async def test_a_malformed_chat_is_a_400_with_the_reason(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/api/chat", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_an_unknown_path_is_an_error_in_ollamas_shape(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/nonsense")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


async def test_more_chats_than_slots_are_all_answered(client: AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.chat(NAME, GREETING, options={"num_predict": 3}) for _ in range(5))
    )
    assert [answer.eval_count for answer in answers] == [3] * 5


async def test_a_client_that_leaves_frees_its_slot(client: AsyncClient) -> None:
    unstreamed = asyncio.create_task(client.chat(NAME, GREETING, format=ENDLESS_SCHEMA))
    # A first token from the second slot shows that both are at work.
    async with endless_chat(client):
        assert (await client.list()).models, "it answers others while it generates"
    unstreamed.cancel()
    # Two at once need both slots; were one still taken, this would wait until the test's time is over.
    async with endless_chat(client), endless_chat(client):
        pass


@asynccontextmanager
async def endless_chat(client: AsyncClient) -> AsyncIterator[None]:
    """A streamed chat, from its first token until the client leaves it."""
    parts = await client.chat(NAME, GREETING, stream=True, format=ENDLESS_SCHEMA)
    await anext(aiter(parts))
    yield
    await parts.aclose()  # type: ignore[attr-defined]


def test_it_does_not_outlive_a_killed_parent(gguf: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    model = [*command(gguf), "--exit-with-parent"]
    with subprocess.Popen([sys.executable, "-c", script, *model], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        child.wait(timeout=60)


def test_a_file_that_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    ended = subprocess.run(command(broken), cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"{broken} could not be loaded")
    assert "Traceback" not in ended.stderr
