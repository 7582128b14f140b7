"""Whatever is sent, typed, written or answered: no crash, nothing stuck and nothing run. A few cases of each.

`python -m benchmarks.hostile` tries thousands.
"""

import pickle
from pathlib import Path

import pytest
from temporalio.client import Client

from testbed.fake_ollama import FakeOllama
from testbed.hostile import batches, snapshots
from testbed.world import World


def test_no_settings_or_prompts_do_harm(tmp_path: Path) -> None:
    assert [tried.failures for tried in batches.of_files(tmp_path, 40)] == [[], []]


def test_nothing_in_a_snapshot_is_run(tmp_path: Path) -> None:
    assert batches.of_snapshots(tmp_path, 200).failures == []


def test_what_is_tried_on_snapshots_does_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(snapshots.Runs()))
    assert (tmp_path / snapshots.RAN).exists()


async def test_no_reply_of_a_model_server_does_harm(world: World, ollama: FakeOllama) -> None:
    assert (await batches.of_replies(ollama, world, 40)).failures == []
    assert (await batches.of_tasks(world, 4)).failures == []


async def test_no_message_to_any_handler_does_harm(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with batches.addressees(client, ollama, tmp_path) as to:
        before = to.world.file.read_bytes()
        assert (await batches.of_handlers(to, 60)).failures == []
        assert (await batches.of_starts(to, 10)).failures == []
        assert to.world.file.read_bytes() == before


async def test_nothing_that_is_typed_does_harm(world: World) -> None:
    assert (await batches.of_commands(world, 10)).failures == []
