"""A recall takes what is there when its time is over, and says what it did without."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import Client, Interceptor, ListWorkflowsInput, OutboundInterceptor

from activities.memory import recall
from activities.memory.recall import NEW_ENOUGH_SECONDS, Memory
from activities.model_server.backend import ModelBackend
from connection.codec import data_converter
from testbed.fake_ollama import FakeOllama
from testbed.world import until
from tests.activities.holding import ALONE, held
from tests.activities.remembering import EMBEDDING, Remembering, names, not_embedded

QUESTION = "Trees or shade roofs: which would a town plant?"


class CountingLists(Interceptor):
    """Counts how often a client asks its server for a list."""

    def __init__(self) -> None:
        self.count = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        counter = self

        class Outbound(OutboundInterceptor):
            def list_workflows(self, input: ListWorkflowsInput) -> Any:
                counter.count += 1
                return super().list_workflows(input)

        return Outbound(next)


class StallingServer:
    """A Temporal server that can be made to say nothing: what is sent to it arrives when `flows` is set."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self.flows = asyncio.Event()
        self.flows.set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection(self._host, self._port)
        for source, target in ((reader, to_server[1]), (to_server[0], writer)):
            self._pipes.add(asyncio.create_task(self._pipe(source, target)))

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            await self.flows.wait()
            target.write(data)
        target.close()


@pytest.fixture
def lists(client: Client, remembering: Remembering) -> CountingLists:
    """The lists that this memory asks for from now on."""
    counting = CountingLists()
    config = client.config()
    config["interceptors"] = [counting]
    remembering.memory = Memory(Client(**config), ModelBackend(), remembering.store.in_a_hurry())
    return counting


async def test_a_program_that_writes_to_the_memory_keeps_nobody_from_recalling(
    remembering: Remembering,
) -> None:
    await remembering.recall_in_time(QUESTION)
    with held(remembering.path):
        recalled = await remembering.recall_in_time(QUESTION)
    assert names(recalled) == ["trees"]
    assert recalled.means == f"embeddings {EMBEDDING}"


async def test_what_could_not_be_kept_meanwhile_is_said(remembering: Remembering) -> None:
    await remembering.recall_in_time(QUESTION)
    remembering.keep("bench", "Which bench stands in the shade?")
    with held(remembering.path):
        recalled = await remembering.recall_in_time(QUESTION)
    assert recalled.means == f"embeddings {EMBEDDING}, and shared words for 1 not embedded yet"
    assert (await remembering.recall_in_time(QUESTION)).means == f"embeddings {EMBEDDING}"


async def test_a_program_that_keeps_the_memory_to_itself_is_told_by_name(remembering: Remembering) -> None:
    await remembering.recall_in_time(QUESTION)
    remembering.store.close()
    with held(remembering.path, ALONE):
        recalled = await remembering.recall_in_time(QUESTION)
    assert (recalled.items, recalled.means) == (
        [],
        "nothing: another program holds the memory of this machine",
    )
    assert names(await remembering.recall_in_time(QUESTION)) == ["trees"]


async def test_a_question_that_is_embedded_too_slowly_is_looked_for_by_shared_words(
    remembering: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remembering.recall_in_time(QUESTION)
    monkeypatch.setattr(recall, "GATHERING", 0.02)
    with not_embedded("slowly"):
        recalled = await remembering.recall_in_time("Plant trees or build roofs, slowly?")
    assert names(recalled) == ["trees"]
    assert recalled.means == f"shared words ({EMBEDDING} was too slow)"


async def test_histories_that_are_read_too_slowly_are_there_for_a_later_recall(
    remembering: Remembering, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "LOOKING", 0.05)
    server = StallingServer(client.service_client.config.target_host)
    async with server as address:
        slow = await Client.connect(address, data_converter=data_converter())
        memory = remembering.memory = Memory(slow, ModelBackend(), remembering.store.in_a_hurry())
        server.flows.clear()
        recalled = await remembering.recall_in_time(QUESTION)
        assert names(recalled) == ["trees"]
        assert recalled.means == (
            f"embeddings {EMBEDDING}, without what ended lately (the server's histories are still read)"
        )
        server.flows.set()

        async def read() -> bool:
            return (await remembering.recall_in_time(QUESTION)).means == f"embeddings {EMBEDDING}"

        await until(read)
        await memory.close()


async def test_six_recalls_at_once_look_through_the_servers_list_twice_at_most(
    remembering: Remembering, lists: CountingLists
) -> None:
    recalled = await asyncio.gather(
        *(remembering.recall_in_time(QUESTION, task_id=f"task-{number}") for number in range(6))
    )
    assert [names(each) for each in recalled] == [["trees"]] * 6
    assert lists.count <= 2


async def test_what_was_foreseen_while_a_task_was_planned_is_not_done_again(
    remembering: Remembering, lists: CountingLists, ollama: FakeOllama
) -> None:
    remembering.memory.foresee(remembering.image_id, "asking", QUESTION)
    assert lists.count == 0, "an image that never recalled may not want to"
    await remembering.recall_in_time("Anything?")
    await asyncio.sleep(NEW_ENOUGH_SECONDS)
    lists.count = 0
    ollama.embeddings.clear()
    asked_at = datetime.now(UTC)
    remembering.memory.foresee(remembering.image_id, "asking", QUESTION)
    assert names(await remembering.recall_in_time(QUESTION, asked_at=asked_at)) == ["trees"]
    assert lists.count == 1
    assert [request.texts for request in ollama.embeddings] == [[QUESTION]]


async def test_tasks_that_were_asked_before_a_look_began_share_it_for_a_second(
    remembering: Remembering, lists: CountingLists
) -> None:
    asked_at = datetime.now(UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "NEW_ENOUGH_SECONDS", 60)  # three recalls may take longer than a second
        for number in range(3):
            await remembering.recall_in_time(QUESTION, task_id=f"queued-{number}", asked_at=asked_at)
    assert lists.count == 1
    await remembering.recall_in_time(QUESTION, task_id="asked-later", asked_at=datetime.now(UTC))
    assert lists.count == 2, "what has ended meanwhile may be what it asks about"
    await asyncio.sleep(NEW_ENOUGH_SECONDS)
    await remembering.recall_in_time(QUESTION, task_id="queued-long", asked_at=asked_at)
    assert lists.count == 3


async def test_nothing_is_foreseen_any_more_where_tasks_no_longer_recall(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    await remembering.recall_in_time(QUESTION)
    for number in range(20):
        remembering.memory.foresee(remembering.image_id, f"task-{number}", f"In vain {number}?")
    await remembering.recall_in_time("The last?")

    def asked() -> list[str]:
        return [text for each in ollama.embeddings for text in each.texts if "In vain" in text]

    await ollama.until(lambda: len(asked()) > 0)
    assert len(asked()) < 10


async def test_a_recall_that_is_given_up_leaves_the_work_behind_it_going(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    for number in range(12):
        remembering.keep(f"hill-{number}", f"How high is hill {number}?")
    ollama.script.embedding_faults = {"How high is hill": "slow"}
    recalling = asyncio.create_task(remembering.recall_in_time(QUESTION))
    await ollama.until(lambda: any("How high" in text for each in ollama.embeddings for text in each.texts))
    recalling.cancel()

    async def embedded() -> bool:
        return remembering.store.count_without_vector(remembering.image_id, EMBEDDING, 512) == (0, 0)

    await until(embedded)
