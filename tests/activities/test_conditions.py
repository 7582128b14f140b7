"""Conditions are the same for all under the same circumstances, and nobody waits for them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities import conditions
from activities.conditions import Conditions
from activities.model_server.backend import ModelBackend
from activities.model_server.client import AsyncClient, model_client
from activities.personas import Personas
from activities.prompts import PROMPTS, Prompts
from testbed.fake_ollama import FakeOllama
from testbed.model_habits import Listing
from tests.activities.asking import Attempt, a_call

TEAM = ["qwen2.5:7b", "llama3.1:8b"]


@pytest.fixture(autouse=True)
def as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a server that tells is heard."""
    monkeypatch.setattr(conditions, "WAITED_FOR_SECONDS", 60)
    monkeypatch.setattr(conditions, "TOLD_WITHIN_SECONDS", 60)


def edit(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))


class Worker:
    """One worker's conditions, over a prompts.toml of its own."""

    def __init__(self, folder: Path, version: str = "1.0") -> None:
        self.file = folder / "prompts.toml"
        if not self.file.exists():
            self.file.write_text(PROMPTS.read_text())
        self.prompts = Prompts(self.file)
        self.clients: dict[str, AsyncClient] = {}
        self.conditions = Conditions(self.prompts, version, self.client)

    def client(self, host: str) -> AsyncClient:
        return self.clients.setdefault(host, model_client(host))

    async def under(self, host: str, models: list[str]) -> str:
        self.prompts.messages("plan", {"task": "Why?"})
        return await self.conditions.under(host, models)

    async def close(self) -> None:
        await self.conditions.close()
        for client in self.clients.values():
            await client.close()  # type: ignore[no-untyped-call]


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    made = Worker(tmp_path)
    yield made
    await made.close()


async def told(folder: Path, host: str, models: list[str] | None = None, version: str = "1.0") -> str:
    """What a worker that has just started says."""
    made = Worker(folder, version)
    try:
        return await made.under(host, models or TEAM)
    finally:
        await made.close()


async def test_conditions_are_the_same_whoever_asks_in_whatever_order(
    ollama: FakeOllama, tmp_path: Path, worker: Worker
) -> None:
    first = await worker.under(ollama.url, TEAM)
    assert len(first) == 12
    assert set(first) <= set("0123456789abcdef")
    assert await worker.under(ollama.url, TEAM[::-1]) == first
    assert await told(tmp_path, ollama.url) == first
    # Two names of one model are one model.
    assert await told(tmp_path, ollama.url, ["qwen2.5:7B", *TEAM]) == first


async def test_each_circumstance_makes_other_conditions(ollama: FakeOllama, tmp_path: Path) -> None:
    seen = [await told(tmp_path, ollama.url), await told(tmp_path, ollama.url, version="1.1")]
    seen.append(await told(tmp_path, ollama.url, TEAM[:1]))
    ollama.script.listing.digests = {"llama3.1:8b": "f" * 64}
    seen.append(await told(tmp_path, ollama.url))
    ollama.script.listing.digests = None
    seen.append(await told(tmp_path, ollama.url))
    file = tmp_path / "prompts.toml"
    edit(file, "[plan]", "# A remark.\n[plan]")
    edit(file, "[goals]", '[dreams]\nsystem = "Dream."\nuser = "Of what?"\n[goals]')
    assert await told(tmp_path, ollama.url) == seen[-1], "nothing of this is told to who argues a task out"
    edit(file, "[plan]", '[plan]\nsystem = "Be brief."')
    seen.append(await told(tmp_path, ollama.url))
    assert len(set(seen)) == len(seen)


async def test_a_server_is_asked_once_in_a_while_however_many_ask(ollama: FakeOllama, worker: Worker) -> None:
    await asyncio.gather(*(worker.under(ollama.url, TEAM) for _ in range(20)))
    assert ollama.listings == 1


async def test_what_a_server_told_holds_when_it_tells_no_more(
    ollama: FakeOllama, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "ASK_AGAIN_AFTER_SECONDS", 0)
    before = await worker.under(ollama.url, TEAM)
    ollama.script.listing = Listing(status=500)
    assert await worker.under(ollama.url, TEAM) == before
    assert ollama.listings == 2


@pytest.mark.parametrize(
    "listing",
    [
        Listing(status=500),
        Listing(body="<html>"),
        Listing(body='{"models": 7}'),
        Listing(body="[" * 100_000),
        Listing(delay_seconds=3600),
        Listing(digests=None),
    ],
)
async def test_models_of_a_server_that_tells_no_digests_go_by_their_names(
    ollama: FakeOllama, tmp_path: Path, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama.script.listing = listing
    if listing.delay_seconds:
        monkeypatch.setattr(conditions, "WAITED_FOR_SECONDS", 1)
    names_alone = await told(tmp_path, "http://127.0.0.1:1")
    assert await told(tmp_path, ollama.url) == names_alone
    assert await told(tmp_path, "http://") == names_alone


# --- the activities ---


async def test_a_call_names_the_model_by_its_digest(ollama: FakeOllama) -> None:
    ollama.script.listing.digests = {"llama3.1:8b": "0123456789abcdef"}
    personas = Personas(ModelBackend())
    plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan", team=TEAM))
    speech = await Attempt().run(personas.speak, a_call(ollama.url))
    await personas.close()
    assert len(plan.conditions) == 12
    assert (speech.usage.model, speech.usage.model_digest) == ("llama3.1:8b", "0123456789ab")


async def test_a_call_of_an_earlier_version_asks_for_no_conditions(ollama: FakeOllama) -> None:
    personas = Personas(ModelBackend())
    plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan"))
    await personas.close()
    assert (plan.conditions, ollama.listings) == ("", 0)


async def test_the_embedded_model_is_the_one_that_counts_for_every_persona(ollama: FakeOllama) -> None:
    personas = Personas(ModelBackend(kind="embedded", host=ollama.url, model="tiny"))
    plans = [
        await Attempt().run(personas.plan, a_call(ollama.url, "plan", team=team))
        for team in (TEAM, ["other"])
    ]
    await personas.close()
    assert plans[0].conditions == plans[1].conditions != ""


async def test_the_embedded_model_is_not_asked_before_it_is_loaded(ollama: FakeOllama) -> None:
    loading = asyncio.get_running_loop().create_future()
    personas = Personas(ModelBackend(kind="embedded", host=ollama.url, model="tiny"), loading=loading)
    planning = asyncio.create_task(Attempt().run(personas.plan, a_call(ollama.url, "plan", team=TEAM)))
    await asyncio.sleep(0.1)
    assert ollama.listings == 0
    loading.set_result(None)
    assert (await planning).conditions
    assert ollama.listings == 1
    await personas.close()
