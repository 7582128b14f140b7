"""Start the embedded model: `python -m runtime.embedded_model --gguf FILE [--port 0] [--name NAME]`.

Prints one line, `{"port": ..., "model": ...}`, when it is ready to serve the Ollama HTTP API on loopback.
"""

import contextlib
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from connection.problems import leave
from runtime.embedded_model.engine import Engine
from runtime.embedded_model.server import OllamaServer

# Longer than the `ollama` client keeps an idle connection (5 s), lest it send a request into one just closed.
KEEP_ALIVE_SECONDS = 30


def main(
    gguf: Annotated[Path, typer.Option(help="The model file.", exists=True, dir_okay=False)],
    port: Annotated[int, typer.Option(help="The loopback port; 0 lets the system choose.")] = 0,
    name: Annotated[str, typer.Option(help="The model's name; by default the file's.")] = "",
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", help="End when standard input ends.")
    ] = False,
) -> None:
    """Serve a model file under a name as Ollama would, until it is told to stop."""
    if exit_with_parent:
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    name = name or gguf.stem.lower()
    try:
        listener = socket.create_server(("127.0.0.1", port))
        # asyncio sets it only on sockets of its own making; without it each answer waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        sys.exit(f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): give another with --port.")
    try:
        engine = Engine(gguf)
    except RuntimeError:
        sys.exit(f"{gguf} could not be loaded as a model: give another GGUF file with --gguf.")
    print(json.dumps({"port": listener.getsockname()[1], "model": name}), flush=True)
    app = OllamaServer(engine, gguf, name).app()
    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=KEEP_ALIVE_SECONDS)
    server = uvicorn.Server(config)
    # Outside the main thread uvicorn leaves signals alone: nothing is to be saved, so one ends the process.
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    serving.start()
    with contextlib.suppress(KeyboardInterrupt):
        serving.join()
    leave(0)


def _exit_at_end_of_input() -> None:
    """End this process when its parent is gone; if the model is being loaded just then, right after that."""
    # Not sys.stdin, whose lock this thread would still hold when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    typer.run(main)
