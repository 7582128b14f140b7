"""The image hears of every save of settings.toml, however the editor saves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.connection import connect
from runtime.dev_server import run_dev_server
from runtime.settings_watcher import SettingsWatcher
from tests.fake_ollama import FakeOllama
from tests.world import World, until


@asynccontextmanager
async def watching(world: World, file: Path | None = None, model: str = "") -> AsyncIterator[None]:
    watcher = asyncio.create_task(SettingsWatcher(world.client, world.name, file or world.file, model).run())
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        assert watcher.cancelled()


async def adopted(world: World, max_turns: int) -> bool:
    return (await world.state()).settings.autopoiesis.max_turns == max_turns


async def test_a_worker_that_starts_tells_which_model_it_asks_and_what_changed_meanwhile(
    world: World,
) -> None:
    world.edit({"autopoiesis.max_turns": 5})
    async with watching(world, model="embedded something"):
        await until(lambda: adopted(world, 5))
        assert (await world.state()).model_backend == "embedded something"


async def test_a_save_is_adopted_whether_the_editor_writes_or_replaces_the_file(world: World) -> None:
    async with watching(world):
        world.edit({"autopoiesis.max_turns": 5})
        await until(lambda: adopted(world, 5))

        new = world.file.with_name("settings.toml~")
        new.write_text(world.file.read_text().replace("max_turns = 5", "max_turns = 6"))
        new.replace(world.file)
        await until(lambda: adopted(world, 6))


async def test_a_save_through_a_link_is_adopted_and_so_is_another_target(
    world: World, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    real = elsewhere / "real.toml"
    world.file.replace(real)
    world.file.symlink_to(real)
    async with watching(world):
        world.edit({"autopoiesis.max_turns": 5})
        await until(lambda: adopted(world, 5))

        other = elsewhere / "other.toml"
        other.write_text(real.read_text().replace("max_turns = 5", "max_turns = 6"))
        link = tmp_path / "link"
        link.symlink_to(other)
        link.replace(world.file)
        await until(lambda: adopted(world, 6))

        world.edit({"autopoiesis.max_turns": 7})
        await until(lambda: adopted(world, 7))


async def test_a_refused_edit_is_one_clear_line_and_the_next_one_is_heard(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused() -> bool:
        return any(record.name == "runtime.settings_watcher" for record in caplog.records)

    caplog.set_level(logging.WARNING, logger="runtime.settings_watcher")
    async with watching(world):
        world.edit({"autopoiesis.max_turns": 40})
        await until(refused)
        [line] = [record.getMessage() for record in caplog.records if record.name.startswith("runtime")]
        assert line.startswith("settings.toml was not adopted, the settings before it hold: ")
        assert "max_turns = 40: must be less than or equal to 10" in line

        world.edit({"autopoiesis.max_turns": 5})
        await until(lambda: adopted(world, 5))


async def test_an_edit_during_an_outage_is_told_when_the_server_is_back(
    ollama: FakeOllama, tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    async with run_dev_server(tmp_path, *free_ports) as (server, _):
        client = await connect(server.address)
        async with World(client, ollama, tmp_path) as world, watching(world):
            world.edit({"autopoiesis.max_turns": 4})
            await until(lambda: adopted(world, 4))
            pid = server.pid
            server.process.kill()
            world.edit({"autopoiesis.max_turns": 5})

            async def back() -> bool:
                return server.pid != pid and await server.is_ready()

            await until(back)
            await until(lambda: adopted(world, 5))


async def test_an_image_that_is_not_there_yet_is_told_when_it_lives(world: World, tmp_path: Path) -> None:
    later = World(world.client, world.ollama, tmp_path)
    async with watching(later, model="embedded something"):
        await asyncio.sleep(1)
        async with later:

            async def told() -> bool:
                return (await later.state()).model_backend == "embedded something"

            await until(told)
