"""python worker.py: hosts the workflows and activities of a living image. `--help` says how."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from temporalio.client import Client

from activities.settings_rewriting import SettingsNotWritable
from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable
from connection import sealing, terminal, tracing
from connection.codec import require_keys, require_keys_of_queue
from connection.deployment import current_version
from connection.image import check_queue, start_image
from connection.logs import configure_logs
from connection.namespace import ensure_search_attributes
from connection.places import SETTINGS, STATE_DIR
from connection.problems import Problem, leave
from connection.server import connect, is_configured, target
from connection.web_ui import known_web_ui
from door.opening import DEFAULT_PORT, open_socket, url_of, with_port
from runtime.banner import older_self, show_image, show_images, show_version, show_worker
from runtime.dev_server import run_dev_server
from runtime.ending import cancel_on_signals, until_one_fails
from runtime.gauges import Gauges
from runtime.images import Images
from runtime.model_backend import RunningModel, run_model
from runtime.preparing import Options, Prepared, Role, prepare
from runtime.settings_watcher import SettingsWatcher
from runtime.workers import running_workers


async def host(prepared: Prepared, listening: socket.socket | None) -> None:
    """Run until a signal; `listening`: where a door does.

    What is entered last is left first: workers, server, model.
    """
    cancel_on_signals()
    async with AsyncExitStack() as stack:
        model = None
        # First, because it takes longest: server, workers and image come up while it is fetched and loaded.
        if prepared.model is not None:
            model = await stack.enter_async_context(run_model(prepared.model, prepared.options.state_dir))
        client, web_ui = await stack.enter_async_context(_temporal(prepared.options))
        if prepared.settings is not None:
            await check_queue(client, prepared.settings)
            await require_keys(client, prepared.settings.system.image_id)
        await require_keys_of_queue(client, prepared.task_queue)
        personas = await stack.enter_async_context(
            running_workers(
                client,
                prepared.task_queue,
                model=model,
                settings=prepared.files,
                state_dir=prepared.options.state_dir,
                pinned=prepared.options.pinned,
            )
        )
        if prepared.options.pinned:
            show_version(client, await current_version(client))
        tasks: list[asyncio.Future[None]] = [model.loading] if model and model.loading else []
        if listening and prepared.settings and personas:
            # Imported here: a worker without a door does not wait for its libraries.
            from door.serving import before_image  # noqa: PLC0415

            image_id = prepared.settings.system.image_id
            cancels = prepared.options.door_cancels
            door = before_image(client, image_id, personas, prepared.settings, listening, cancels=cancels)
            tasks.append(await stack.enter_async_context(door))
        if prepared.options.metrics and prepared.settings is not None:
            gauges = Gauges(client, prepared.settings.system.image_id)
            tasks.append(asyncio.create_task(gauges.run()))
        address = url_of(prepared.options.door_host, listening) if listening else ""
        tasks.append(asyncio.create_task(_wake_and_watch(prepared, client, web_ui, model, address)))
        await until_one_fails(*tasks)


async def _wake_and_watch(
    prepared: Prepared, client: Client, web_ui: str | None, model: RunningModel | None, door: str
) -> None:
    def answers_with(settings: Settings) -> str:
        return model.backend.describe(*settings.models.by_persona().values()) if model else ""

    if prepared.folders is not None:
        images = Images(client, prepared.folders, answers_with)
        await images.wake()
        show_images(client, prepared.folders, prepared.options.role)
        await images.run()  # for as long as the worker lives
    settings, file = prepared.settings, prepared.options.settings
    answers = answers_with(settings) if settings else ""
    if prepared.options.dev and settings is not None:
        image = await start_image(client, settings, answers)
        show_image(
            client,
            settings.system.image_id,
            file,
            web_ui=web_ui,
            answers=answers,
            model=model,
            door=door,
            older=await older_self(image, settings, file.absolute().parent),
        )
    else:
        show_worker(client, prepared.task_queue, prepared.options.role, door)
    if prepared.files and settings:
        await SettingsWatcher(client, settings.system.image_id, file, answers).run()
    await asyncio.Event().wait()


@asynccontextmanager
async def _temporal(options: Options) -> AsyncIterator[tuple[Client, str | None]]:
    """A client of the Temporal server, and where its Web UI is if that is known."""
    if options.dev and not is_configured():
        async with run_dev_server(options.state_dir, options.port, options.ui_port) as (server, client):
            yield client, server.web_ui
    else:
        client = await connect()
        await ensure_search_attributes(client)
        yield client, known_web_ui(target(client), options.state_dir)


def main(
    *,
    dev: Annotated[
        bool, typer.Option("--dev", help="Bring what is missing: Temporal server, model, image.")
    ] = False,
    settings: Annotated[
        Path | None, typer.Option(help="The settings file.", show_default=str(SETTINGS))
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Host all images: each folder below this one with a settings.toml.", metavar="FOLDER"
        ),
    ] = None,
    role: Annotated[
        Role, typer.Option(help="Think (compute), handle the settings file (files), or all.")
    ] = Role.all,
    task_queue: Annotated[
        str | None,
        typer.Option(help="With --role compute or --images: the task queue, instead of a settings file."),
    ] = None,
    no_embedded_model: Annotated[
        bool,
        typer.Option("--no-embedded-model", help="With --dev: no model of our own where Ollama is missing."),
    ] = False,
    gguf: Annotated[
        Path | None, typer.Option(help="With --dev: embed this model file, whether Ollama is there or not.")
    ] = None,
    port: Annotated[
        int, typer.Option(help="With --dev: the port of our own Temporal server.", min=1, max=64_535)
    ] = 7233,
    ui_port: Annotated[
        int | None,
        typer.Option(
            help="With --dev: the port of its Web UI.", show_default="port + 1000", min=1, max=65_535
        ),
    ] = None,
    state_dir: Annotated[
        Path, typer.Option(help="Where the memory is kept; with --dev, all data and logs.")
    ] = STATE_DIR,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="Take up only what begins with this version; docs/cluster.md.")
    ] = False,
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="[HOST:]PORT", help="Serve metrics for Prometheus there.")
    ] = "",
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log to stderr as JSON, with the ids of image, task and loop.")
    ] = False,
    door: Annotated[
        int | None,
        typer.Option(
            help=f"Open an OpenAI-compatible door. Without a port on {DEFAULT_PORT}; 0: a free one.",
            metavar="[PORT]",
            min=0,
            max=65_535,
        ),
    ] = None,
    door_host: Annotated[
        str, typer.Option(help="Where the door listens; open to others it needs LIVING_IMAGE_DOOR_TOKEN.")
    ] = "127.0.0.1",
    door_cancels: Annotated[
        bool, typer.Option("--door-cancels", help="Cancel the task of a chat once its client has gone.")
    ] = False,
) -> None:
    """Host a living image: its workflows, its personas and its settings file.

    The Temporal server is the one that TEMPORAL_ADDRESS or the Temporal profile names. Where none is named,
    --dev starts one. Exit code 0: stopped by Ctrl-C or SIGTERM. 2: could not start; one sentence says why.
    """
    options = Options(
        dev=dev,
        settings=settings or SETTINGS,
        images=images,
        role=role,
        task_queue=task_queue,
        embedded_model=dev and not no_embedded_model,
        gguf=gguf,
        port=port,
        ui_port=port + 1000 if ui_port is None else ui_port,
        state_dir=state_dir,
        pinned=pinned,
        metrics=metrics if ":" in metrics or not metrics else f"127.0.0.1:{metrics}",
        log_json=log_json,
        door=door,
        door_host=door_host,
        door_cancels=door_cancels,
    )
    # Until the event loop takes over, SIGTERM is what Ctrl-C is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if images is not None and settings is not None:
            raise Problem("--images hosts every folder, and --settings one file; give one of them")
        sealing.keys()  # so that nothing is done where they cannot be read
        configure_logs(options.metrics, options.log_json)
        with tracing.sending():
            # First, for it is refused at once, and who asks a model server may have to wait.
            listening = None if options.door is None else open_socket(options.door_host, options.door)
            asyncio.run(host(prepare(options), listening))
    except (KeyboardInterrupt, asyncio.CancelledError):
        leave(0)
    except (Problem, InvalidSettings, SettingsUnreadable, SettingsNotWritable) as problem:
        print(problem, file=sys.stderr)
        leave(2)


if __name__ == "__main__":
    terminal.prepare()
    sys.argv = with_port(sys.argv)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
