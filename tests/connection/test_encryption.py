"""What is told by way of a server stands there encrypted, and who has the keys can read it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from connection.codec import is_sealed
from connection.namespace import ensure_search_attributes
from connection.sealing import VARIABLE
from connection.server import connect
from runtime.dev_server import DevServer
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_ports
from testbed.world import until
from tests.connection.encrypted import NEW, OLD, OTHER, Life, client_with, kept_by, key
from tests.desk.command_line import Starter
from tests.runtime.worker_process import WorkerProcess

TASK = "Should a heron wade or wait?"
SYNTHESIS = "A heron does both, and neither."
REFUSED = "invalid options"
COMMENT = "it forgot the frogs"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    """A server whose file can be read."""
    async with DevServer(tmp_path_factory.mktemp("server"), *free_ports()) as running:
        await ensure_search_attributes(await connect(running.address))
        yield running


async def lived(life: Life, ollama: FakeOllama) -> list[str]:
    """A task, a rating, a failed task and an approved proposal. What was said, by everybody."""
    starter = life.starter()
    view = await life.pending_proposal()
    ollama.script.says["text"] = SYNTHESIS
    asked = await starter("ask", TASK, "--task-id", "one", "--json")
    assert asked.code == 0, asked.err
    assert SYNTHESIS in asked.out
    rated = await starter("rate", "one", "bad", "--comment", COMMENT)
    assert rated.code == 0, rated.err
    ollama.fail("refused", 1000)
    failed = await starter("ask", "And who fails?", "--task-id", "two")
    assert failed.code == 1, failed.err
    ollama.script.faults.clear()
    shown = await starter("show", view.loop_id)
    assert shown.code == 0, shown.err
    approved = await starter("approve", view.loop_id, "--yes", "--comment", "let them speak")
    assert approved.code == 0, approved.err
    assert REFUSED in failed.err
    return [TASK, SYNTHESIS, COMMENT, "And who fails?", REFUSED, "let them speak", "max_turns", "Traceback"]


async def test_nothing_of_a_whole_life_can_be_read_by_who_has_no_key(
    server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    life = await Life.under(OLD, server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        said = await lived(life, ollama)
        assert await worker.stop() == 0
    raw = await life.raw("task/one", "task/two", "loop/1")
    assert {f"{life.name}/task/one", f"{life.name}/task/two", f"{life.name}/loop/1"} < {*raw}
    assert {word for word in said if any(word.encode() in history for history in raw.values())} == set()
    # Search attributes are for searching; a patch is a name of the program's.
    assert {event for event, _ in await life.readable()} <= {
        "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
        "EVENT_TYPE_MARKER_RECORDED",
    }
    kept = kept_by(server.folder)
    assert {word for word in said if word.encode() in kept} == set()
    assert life.name.encode() in kept  # an id, which is not encrypted: this is where they would be


async def test_an_image_that_began_unencrypted_goes_on_with_keys(
    server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    before, after = "What was said before?", "What is said from here on?"
    life = await Life.under("", server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        assert (await life.starter()("ask", before)).code == 0
        assert await worker.stop() == 0
    await life.take(OLD)
    async with life.at_work() as worker:
        assert (await life.starter()("ask", after)).code == 0
        tasks = await life.starter()("tasks")
        assert before in tasks.out and after in tasks.out
        # Who has no key, such as Temporal's own command line, can still say something.
        view = await life.pending_proposal()
        keyless = await client_with(life.address, "")
        await keyless.get_workflow_handle(view.loop_id).signal("reject", {"approver": "Ada"})
        await life.proposal(view.loop_id, "rejected")
        assert await worker.stop() == 0
    everything = b"".join((await life.raw()).values())
    assert before.encode() in everything
    assert after.encode() not in everything
    kept = kept_by(server.folder)
    assert before.encode() in kept  # so the file is not compressed, and would tell what is not encrypted
    assert after.encode() not in kept


async def test_a_new_key_comes_first_and_what_was_said_before_stays_readable(
    server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    life = await Life.under(OLD, server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        assert (await life.starter()("ask", TASK, "--task-id", "one")).code == 0
        assert await worker.stop() == 0
    await life.take(f"{NEW},{OLD}")
    async with life.at_work() as worker:
        again = await life.starter()("ask", TASK, "--task-id", "one", "--json")
        assert again.code == 0, again.err
        assert (await life.starter()("ask", "And today?", "--task-id", "two")).code == 0
        assert TASK in (await life.starter()("tasks")).out
        assert await worker.stop() == 0
    assert {*await life.key_ids(f"{life.name}/task/one")} == {"old"}
    assert {*await life.key_ids(f"{life.name}/task/two")} == {"new"}
    ids = await life.key_ids(life.name)
    assert ids[0] == "old" and ids[-1] == "new"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (OTHER, "it is encrypted with the key 'old', which is not in LIVING_IMAGE_KEYS; add it there"),
        ("", "it is encrypted with the key 'old', and LIVING_IMAGE_KEYS is not set; set it"),
        (key("old", 9), "it does not open with the key 'old' of LIVING_IMAGE_KEYS"),
    ],
)
async def test_who_has_the_wrong_key_is_told_which_and_changes_nothing(
    server: DevServer, ollama: FakeOllama, tmp_path: Path, keys: str, says: str
) -> None:
    life = await Life.under(OLD, server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        assert (await life.starter()("ask", TASK, "--task-id", "one")).code == 0
        await until(life.idles)
        assert await worker.stop() == 0
    before = await life.raw("task/one")
    for role in ([], ["--role", "compute", "--task-queue", life.name]):
        async with life.worker(*role, keys=keys) as worker:
            assert await worker.process.wait() == 2
            assert says in worker.err
            assert len(worker.err.splitlines()) == 1, worker.err
    life.keys = keys
    ran = await life.starter()("ask", "Do you hear me?")
    assert ran.code == 2
    assert says in ran.sentence
    assert await life.raw("task/one") == before
    life.keys = OLD
    async with life.at_work() as worker:
        assert (await life.starter()("ask", "And you?")).code == 0
        assert await worker.stop() == 0


async def test_a_worker_without_a_key_that_came_later_loses_nothing_and_the_right_one_goes_on(
    server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    life = await Life.under("", server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        view = await life.pending_proposal()
        keyed = await client_with(life.address, OLD)
        rejection = {"approver": "Ada", "comment": "a secret"}
        await keyed.get_workflow_handle(view.loop_id).signal("reject", rejection)
        await worker.says("it is encrypted with the key 'old', and LIVING_IMAGE_KEYS is not set; set it")
        assert await worker.stop() == 0
    await life.take(OLD)
    async with life.at_work() as worker:
        await life.loops_concluded()
        (entry,) = (await life.state()).ledger.amendments
        assert (entry.state, entry.decided_by) == ("rejected", "Ada")
        assert await worker.stop() == 0
    assert b"a secret" not in b"".join((await life.raw()).values())


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("nonsense", "Entry 1 of LIVING_IMAGE_KEYS has no name before a colon"),
        (f"{OLD},a b:AAAA", "Entry 2 of LIVING_IMAGE_KEYS has a name of other than"),
        (f"{OLD},", "Entry 2 of LIVING_IMAGE_KEYS has no name before a colon"),
        (f"{OLD},{key('old', 2)}", "Entry 2 of LIVING_IMAGE_KEYS has the name 'old' a second time"),
        ("one:???", "The key 'one' of LIVING_IMAGE_KEYS is not base64"),
        ("one:c2hvcnQ=", "The key 'one' of LIVING_IMAGE_KEYS has 5 bytes instead of 32"),
    ],
)
async def test_keys_that_cannot_be_read_end_everything_before_anything_is_done(
    server: DevServer, tmp_path: Path, keys: str, says: str
) -> None:
    environment: Any = {VARIABLE: keys}
    ran = await Starter(tmp_path, server.address, **environment)("status")
    assert ran.code == 2
    assert says in ran.sentence
    assert "`openssl rand -base64 32` makes a key" in ran.sentence
    async with WorkerProcess(tmp_path, TEMPORAL_ADDRESS=server.address, **environment) as worker:
        assert await worker.process.wait() == 2
        assert worker.err == ran.err
        assert not (tmp_path / ".state").exists()


@pytest.mark.timeout(600)  # writing and reading snapshots makes way for everything else
async def test_a_snapshot_is_encrypted_too(server: DevServer, ollama: FakeOllama, tmp_path: Path) -> None:
    task = "What does a snapshot hold?"
    life = await Life.under("", server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        assert (await life.starter()("ask", task)).code == 0
        assert (await life.starter()("snapshot")).code == 0
        assert await worker.stop() == 0
    await life.take(OLD)
    async with life.at_work() as worker:
        # Nothing has happened since, but for the keys.
        assert (await life.starter()("snapshot")).code == 0
        assert await worker.stop() == 0
    plain, sealed = sorted((tmp_path / "snapshots").iterdir())
    assert task.encode() in plain.read_bytes()
    assert task.encode() not in sealed.read_bytes()
    views = (await life.starter()("snapshots", "--json")).json
    assert [view["problem"] for view in views] == ["", ""]
    for file in (plain, sealed):
        assert (await life.starter()("restore", str(file), "--dry-run")).code in (0, 1)
    life.keys = OTHER
    says = "it is encrypted with the key 'old', which is not in LIVING_IMAGE_KEYS; add it there"
    ran = await life.starter()("restore", str(sealed), "--dry-run")
    assert ran.code == 1
    assert says in ran.sentence
    life.keys = key("old", 9)
    ran = await life.starter()("restore", str(sealed), "--dry-run")
    assert ran.code == 1
    assert "it does not open with the key 'old' of LIVING_IMAGE_KEYS" in ran.sentence


async def test_who_has_a_new_key_before_the_workers_speaks_with_theirs(
    server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    life = await Life.under(OLD, server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        life.keys = f"{NEW},{OLD}"
        early = await life.starter()("ask", "Am I early?")
        assert early.code == 0, early.err
        assert await worker.stop() == 0
    assert "new" not in await life.key_ids(life.name)


async def test_nobody_tells_a_worker_without_keys_what_it_could_not_read(
    server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    life = await Life.under("", server.address, ollama, tmp_path)
    await life.start()
    async with life.at_work() as worker:
        life.keys = OLD
        early = await life.starter()("ask", "Am I early?")
        assert early.code == 2
        assert "The worker that answers has no keys and could not read this" in early.sentence
        life.keys = ""
        assert (await life.starter()("ask", "Am I late?")).code == 0
        assert await worker.stop() == 0


@activity.defn
async def speak(words: str) -> str:
    """Fails at first, after a heartbeat."""
    if activity.info().attempt == 1:
        activity.heartbeat("so far")
        raise ValueError("cut off")
    return f"{words} {list(activity.info().heartbeat_details)}"


@workflow.defn(sandboxed=False)
class Speaking:
    @workflow.run
    async def run(self, queue: str) -> str:
        within = timedelta(minutes=1)
        return await workflow.execute_activity(speak, "said", task_queue=queue, start_to_close_timeout=within)


async def test_an_attempt_goes_on_without_a_heartbeat_that_it_cannot_read(
    server: DevServer, tmp_path: Path
) -> None:
    keyless, keyed = [await client_with(server.address, keys) for keys in ("", OLD)]
    queue = f"speaking-{tmp_path.name}"
    async with Worker(keyless, task_queue=queue, workflows=[Speaking]):
        handle = await keyless.start_workflow(Speaking.run, f"{queue}-a", id=queue, task_queue=queue)
        async with Worker(keyed, task_queue=f"{queue}-a", activities=[speak]):
            await until(lambda: tried(handle))
        async with Worker(keyless, task_queue=f"{queue}-a", activities=[speak]):
            assert await handle.result() == "said []"


async def tried(handle: WorkflowHandle[Any, Any]) -> bool:
    pending = (await handle.describe()).raw_description.pending_activities
    return any(is_sealed(detail) for each in pending for detail in each.heartbeat_details.payloads)
