"""`starter.py doctor`: each thing that can be wrong is told, with what to do; `--fix` mends what it may."""

import re
import uuid
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType, WorkerStatus
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import RecordWorkerHeartbeatRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from connection.namespace import RETENTION, ensure_search_attributes, present_search_attributes, retention
from connection.version import NAME, VERSION
from messages.files import SnapshotReceipt
from messages.image import ReloadReceipt
from testbed.fake_ollama import FakeOllama
from testbed.world import World, shipped_settings, until
from tests.desk.command_line import Ran, Starter
from tests.runtime.worker_process import WorkerProcess

MODELS = ["qwen2.5:7b", "llama3.1:8b", "nomic-embed-text:latest"]
NOWHERE = "http://127.0.0.1:1"


async def new_namespace(client: Client, kept: timedelta = RETENTION, attributes: bool = True) -> Client:
    """A client of a new namespace on the common server."""
    name, duration = f"doctor-{uuid.uuid4().hex[:8]}", Duration()
    duration.FromTimedelta(kept)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=duration)
    )
    inside = Client(client.service_client, namespace=name, data_converter=client.data_converter)
    if attributes:
        await ensure_search_attributes(inside)
    return inside


def starter_of(world: World) -> Starter:
    return Starter(world.file.parent, world.address, TEMPORAL_NAMESPACE=world.client.namespace)


def worries(ran: Ran) -> dict[str, str]:
    """The state of each check that is not ok."""
    return {each["check"]: each["state"] for each in ran.json["findings"] if each["state"] != "ok"}


async def looked(starter: Starter, code: int, worried: dict[str, str]) -> Ran:
    """What the doctor says once it says that. What a worker does, the server knows a moment later."""

    async def said() -> Ran | None:
        ran = await starter("doctor", "--json")
        return ran if (ran.code, worries(ran)) == (code, worried) else None

    ran: Ran = await until(said)
    return ran


async def test_all_is_well(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.models = list(MODELS)
    async with World(await new_namespace(client), ollama, tmp_path) as world:
        ran, plain = await starter_of(world).each(["doctor", "--json"], ["doctor"])
    assert (ran.code, ran.err, ran.json["state"], worries(ran)) == (0, "", "ok", {})
    assert (ran.json["not_checked"], ran.json["repairs"]) == ({}, [])
    assert "Temporal " in ran.finding("server")["figure"]
    assert "kept for 3650 days" in ran.finding("retention")["figure"]
    assert "1 worker polls it: " in ran.finding(f"task queue {world.name}-files")["figure"]
    assert ran.finding("version")["figure"] == f"{VERSION}, here and in every worker"
    assert "answers for ALFRED, BABS, BRICK at" in ran.finding("model qwen2.5:7b")["figure"]
    assert re.search(r"give or take \d+\.\d{3} s$", ran.finding("clock")["figure"])
    assert (plain.code, plain.err) == (0, "")
    assert {line.split()[0] for line in plain.out.splitlines()} == {"ok"}


async def test_no_server_is_said_once_and_all_else_is_looked_at(ollama: FakeOllama, tmp_path: Path) -> None:
    shipped_settings(tmp_path, {"models.host": ollama.url})
    starter = Starter(tmp_path, "127.0.0.1:1")
    ran, plain = await starter.each(["doctor", "--json"], ["doctor"])
    assert ran.code == 2
    server = ran.finding("server")
    assert server["figure"] == "No Temporal server answers at 127.0.0.1:1 (Connection refused)"
    assert server["advice"].startswith("Start one with `python worker.py --dev`")
    unseen = ["retention", "search attributes", "task queues", "versions", "clock", "image", "adopted"]
    assert ran.json["not_checked"] == {"no server": unseen}
    assert ran.finding("settings")["state"] == ran.finding("model llama3.1:8b")["state"] == "ok"
    assert plain.out.count("no server") == 1
    assert "Traceback" not in plain.out + plain.err


async def test_a_namespace_that_is_not_there(world: World, starter: Starter) -> None:
    starter.environment["TEMPORAL_NAMESPACE"] = "nowhere"
    ran = await starter("doctor", "--json")
    assert ran.code == 2
    assert ran.finding("server")["figure"].endswith("has no namespace 'nowhere'")
    assert "temporal operator namespace create --namespace nowhere" in ran.finding("server")["advice"]


async def test_a_short_retention_is_a_warning(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.models = list(MODELS)
    async with World(await new_namespace(client, timedelta(days=1)), ollama, tmp_path) as world:
        ran = await starter_of(world)("doctor", "--json")
    assert (ran.code, worries(ran)) == (1, {"retention": "warning"})
    assert ran.finding("retention")["figure"] == "ended workflows are kept for 1 day"
    assert "doctor --fix" in ran.finding("retention")["advice"]
    assert "--retention 3650d" in ran.finding("retention")["advice"]


async def test_missing_search_attributes_and_those_of_another_type(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    inside = await new_namespace(client, attributes=False)
    starter = starter_of(World(inside, ollama, tmp_path))
    missing = (await starter("doctor", "--json")).finding("search attributes")
    assert missing["state"] == "broken"
    assert missing["figure"].startswith("NeedsHuman, ImagePhase, SettingsRevision missing")
    assert "search-attribute create" in missing["advice"]
    assert "--name NeedsHuman --type Bool" in missing["advice"]

    wrong = {"NeedsHuman": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
    await inside.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=inside.namespace, search_attributes=wrong)
    )
    other = (await starter("doctor", "--fix", "--json")).finding("search attributes")
    assert (other["state"], other["figure"]) == ("broken", "NeedsHuman is not a Bool")
    assert "search-attribute remove" in other["advice"]


async def test_no_worker_and_one_that_has_stopped(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.models = list(MODELS)
    world = World(await new_namespace(client), ollama, tmp_path)
    starter = starter_of(world)
    queues = (f"task queue {world.name}", f"task queue {world.name}-files")
    never = await starter("doctor", "--json")
    await world.start_workers()
    await world.stop_files_worker()
    half = await looked(starter, 2, {queues[1]: "broken"})
    await world.stop_workers()
    stopped = await looked(starter, 2, dict.fromkeys(queues, "broken"))

    assert (never.code, worries(never)) == (2, dict.fromkeys(queues, "broken"))
    for ran in (never, stopped):
        assert ran.json["not_checked"] == {
            "no worker": ["versions"],
            "no living image": ["image", "adopted"],
        }
        assert {ran.finding(queue)["figure"] for queue in queues} == {"no worker polls it"}
    assert half.finding(queues[1])["advice"].endswith("python worker.py --role files")


async def test_workers_of_other_versions(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.models = list(MODELS)
    world = World(await new_namespace(client), ollama, tmp_path)
    older = WorkerDeploymentConfig(WorkerDeploymentVersion(NAME, "0.0.9"), use_worker_versioning=False)
    beat = WorkerHeartbeat(
        worker_instance_key=uuid.uuid4().hex,
        worker_identity=world.client.identity,
        task_queue=world.name,
        sdk_name="temporal-python",
        sdk_version="1.0.0",
        status=WorkerStatus.WORKER_STATUS_RUNNING,
    )
    async with (
        world,
        Worker(
            world.client,
            task_queue=f"{world.name}-files",
            activities=[idle],
            identity="another",
            deployment_config=older,
        ),
    ):
        await world.stop_files_worker()
        await world.client.workflow_service.record_worker_heartbeat(
            RecordWorkerHeartbeatRequest(
                namespace=world.client.namespace, identity=world.client.identity, worker_heartbeat=[beat]
            )
        )
        ran = await looked(starter_of(world), 1, {"version": "warning", "SDK": "warning"})
    assert f"here it is {VERSION}, but another runs 0.0.9" in ran.finding("version")["figure"]
    assert f"{world.client.identity} has 1.0.0" in ran.finding("SDK")["figure"]
    assert "make setup" in ran.finding("version")["advice"]
    assert "make setup" in ran.finding("SDK")["advice"]


@activity.defn
async def idle() -> None: ...


async def test_a_worker_tells_its_version_and_its_sdk(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = World(await new_namespace(client), ollama, tmp_path)
    starter = starter_of(world)

    async def told() -> Ran | None:
        ran = await starter("doctor", "--json")
        seen = {finding["check"]: finding["figure"] for finding in ran.json["findings"]}
        return ran if "every worker" in seen.get("SDK", "") else None

    async with WorkerProcess(
        tmp_path, TEMPORAL_ADDRESS=starter.address, TEMPORAL_NAMESPACE=world.client.namespace
    ):
        ran: Ran = await until(told)
    assert ran.finding("version")["figure"] == f"{VERSION}, here and in every worker"
    assert ran.finding(f"task queue {world.name}")["state"] == "ok"


async def test_a_model_that_is_missing_and_one_that_fails(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script.models = ["qwen2.5:7b"]
    ollama.fail("server_error")
    async with World(await new_namespace(client), ollama, tmp_path) as world:
        ran = await starter_of(world)("doctor", "--json")
    assert ran.code == 2
    assert worries(ran) == {
        "model qwen2.5:7b": "broken",
        "model llama3.1:8b": "broken",
        "model nomic-embed-text": "warning",
    }
    missing, failing = ran.finding("model llama3.1:8b"), ran.finding("model qwen2.5:7b")
    assert missing["figure"] == f"not at {ollama.url}; ROBIN cannot speak"
    assert "`ollama pull llama3.1:8b`" in missing["advice"]
    assert "llama runner process has terminated" in failing["figure"]
    assert "Ollama's log" in failing["advice"]
    assert "shared words" in ran.finding("model nomic-embed-text")["figure"]


async def test_no_ollama_is_broken_unless_an_embedded_model_answers(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with World(await new_namespace(client), ollama, tmp_path, {"models.host": NOWHERE}) as world:
        starter = starter_of(world)
        none = await starter("doctor", "--json")
        answers = "embedded qwen (small model, for trying out)"
        await world.update("reload_settings", {"model_backend": answers}, ReloadReceipt)
        embedded = await starter("doctor", "--json")
    assert (none.code, worries(none)) == (2, {"models": "broken"})
    assert none.finding("models")["figure"] == f"No Ollama answers at {NOWHERE}"
    assert "ollama serve" in none.finding("models")["advice"]
    assert (embedded.code, worries(embedded)) == (1, {"models": "warning"})
    assert answers in embedded.finding("models")["figure"]
    assert embedded.json["not_checked"] == {"no Ollama": ["embedding model"]}


async def test_a_damaged_snapshot_is_broken_and_a_sound_one_is_not(world: World, starter: Starter) -> None:
    receipt = await world.update("save_image", None, SnapshotReceipt)
    sound = await starter("doctor", "--json")
    assert sound.finding("snapshots")["figure"] == "1 verified"
    snapshot = Path(receipt.path)
    damage(snapshot)
    damaged = await starter("doctor", "--json")
    assert damaged.code == 2
    finding = damaged.finding(f"snapshot {snapshot.name}")
    assert (finding["state"], "it is cut off" in finding["figure"]) == ("broken", True)
    assert "Delete it, or put back an undamaged copy" in finding["advice"]


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


async def test_bad_settings_are_told_and_the_server_is_looked_at(world: World, starter: Starter) -> None:
    world.edit({"autopoiesis.max_turns": 99})
    bad = await starter("doctor", "--json")
    world.file.unlink()
    missing, plain = await starter.each(["doctor", "--json"], ["doctor"])
    assert (bad.code, missing.code) == (2, 2)
    assert "[autopoiesis] max_turns = 99: must be less than" in bad.finding("settings")["figure"]
    assert bad.finding("settings")["advice"].startswith("Correct it")
    assert bad.finding("server")["state"] == "ok"
    models = ["models", "embedding model"]
    unseen = ["task queues", "versions", "clock", "image", "adopted", *models, "snapshots"]
    assert bad.json["not_checked"] == {"no valid settings": unseen}
    assert "settings.toml cannot be read (No such file or directory)" in missing.finding("settings")["figure"]
    assert missing.finding("settings")["advice"].startswith("Put the file there")
    assert plain.out.count("cannot be read") == 1


async def test_fix_mends_and_looks_again(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.models = ["qwen2.5:7b"]
    inside = await new_namespace(client, timedelta(days=1), attributes=False)
    world = World(inside, ollama, tmp_path)
    await world.start_workers()
    ran = await starter_of(world)("doctor", "--fix")
    again = await starter_of(world)("doctor", "--fix", "--json")
    await world.stop_workers()
    assert ran.code == 0
    for done in (
        "ended workflows are now kept for 3650 days",
        "created the search attributes NeedsHuman, ImagePhase, SettingsRevision",
        f"pulled llama3.1:8b at {ollama.url}",
        f"pulled nomic-embed-text at {ollama.url}",
    ):
        assert f"Fixed: {done}." in ran.out
    assert ollama.pulled == ["llama3.1:8b", "nomic-embed-text"]
    assert {line.split()[0] for line in ran.out.splitlines()} == {"Fixed:", "ok", "not"}
    assert ran.out.endswith("not checked: image, adopted (no living image)\n")
    assert "pulling llama3.1:8b: success" in ran.err
    assert await retention(inside) == RETENTION
    assert set(await present_search_attributes(inside)) >= {"NeedsHuman", "ImagePhase", "SettingsRevision"}
    assert (again.code, again.json["repairs"]) == (0, [])


async def test_what_cannot_be_fixed_is_told_and_the_rest_is(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script.models, ollama.script.unknown_models = ["qwen2.5:7b"], ["llama3.1:8b"]
    world = World(await new_namespace(client), ollama, tmp_path)
    ran = await starter_of(world)("doctor", "--fix", "--json")
    assert ran.code == 2
    robin, memory = ran.json["repairs"]
    assert "pull model manifest: file does not exist" in robin["problem"]
    assert "correct its name in [models]" in robin["problem"]
    assert memory["done"] == f"pulled nomic-embed-text at {ollama.url}"
    assert ran.finding("model llama3.1:8b")["state"] == "broken"
    assert ran.finding("model nomic-embed-text")["state"] == "ok"
