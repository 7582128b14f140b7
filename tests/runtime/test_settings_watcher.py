"""The image hears of every save of settings.toml, however the editor saves."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from temporalio.service import RPCError

from connection.server import connect
from runtime.dev_server import run_dev_server
from runtime.settings_watcher import SettingsWatcher
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until


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


async def no_problem(world: World) -> bool:
    return (await world.status()).settings_problem == ""


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


def with_turns(text: str, max_turns: int) -> str:
    return re.sub(r"max_turns = \d+", f"max_turns = {max_turns}", text)


async def test_a_folder_of_links_that_is_swapped_as_a_whole_is_followed(world: World, tmp_path: Path) -> None:
    """As Kubernetes lays out a mounted ConfigMap: settings.toml -> ..data/settings.toml, ..data -> ..1."""
    mounted, data, text = tmp_path / "mounted", tmp_path / "mounted" / "..data", world.file.read_text()

    def swap(version: str, max_turns: int) -> None:
        folder = mounted / version
        folder.mkdir(parents=True)
        (folder / "settings.toml").write_text(with_turns(text, max_turns))
        (mounted / "..data_tmp").symlink_to(version)
        (mounted / "..data_tmp").replace(data)

    swap("..1", 2)
    (mounted / "settings.toml").symlink_to("..data/settings.toml")
    world.file.unlink()
    world.file.symlink_to(mounted / "settings.toml")
    async with watching(world):
        swap("..2", 5)
        await until(lambda: adopted(world, 5))
        swap("..3", 6)
        await until(lambda: adopted(world, 6))


async def test_a_folder_above_that_is_replaced_or_linked_anew_is_followed(
    world: World, tmp_path: Path
) -> None:
    text = world.file.read_text()

    def config(name: str, max_turns: int) -> Path:
        folder = tmp_path / name / "deep"
        folder.mkdir(parents=True)
        (folder / "settings.toml").write_text(with_turns(text, max_turns))
        return tmp_path / name

    config("config", 2)
    world.file.unlink()
    world.file.symlink_to("config/deep/settings.toml")
    async with watching(world):
        (tmp_path / "config").rename(tmp_path / "old")
        config("new", 5).rename(tmp_path / "config")
        await until(lambda: adopted(world, 5))

        (tmp_path / "config").rename(tmp_path / "older")
        (tmp_path / "config").symlink_to(config("newer", 6))
        await until(lambda: adopted(world, 6))

        (tmp_path / "link").symlink_to(config("newest", 7))
        (tmp_path / "link").replace(tmp_path / "config")
        await until(lambda: adopted(world, 7))


async def test_a_file_that_was_away_is_adopted_when_it_is_back(world: World) -> None:
    text = with_turns(world.file.read_text(), 5)
    async with watching(world):
        world.file.unlink()
        await asyncio.sleep(2)
        world.file.write_text(text)
        await until(lambda: adopted(world, 5))
        # What it was told while the file was away may be answered later.
        await until(lambda: no_problem(world))


async def test_the_image_hears_once_of_a_save_and_nothing_of_a_touch(world: World) -> None:
    async def reloads() -> int:
        history = await world.image.fetch_history()
        accepted = (event.workflow_execution_update_accepted_event_attributes for event in history.events)
        return sum(each.accepted_request.input.name == "reload_settings" for each in accepted)

    async def told_twice() -> bool:
        return await reloads() >= 2

    async with watching(world):
        await until(reloads)
        world.edit({"autopoiesis.max_turns": 5})
        await until(lambda: adopted(world, 5))
        await until(told_twice)  # the first time it may have read what was saved only then
        for _ in range(3):
            world.file.touch()
            await asyncio.sleep(1)
        assert await reloads() == 2


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

            async def adopted_by_now() -> bool:
                with suppress(RPCError):  # its workers are still on their way back
                    return await adopted(world, 5)
                return False

            await until(back)
            await until(adopted_by_now)


async def test_an_image_that_is_not_there_yet_is_told_when_it_lives(world: World, tmp_path: Path) -> None:
    later = World(world.client, world.ollama, tmp_path)
    async with watching(later, model="embedded something"):
        await asyncio.sleep(1)
        async with later:

            async def told() -> bool:
                return (await later.state()).model_backend == "embedded something"

            await until(told)
