"""The command `codec`: what is encrypted, readable in the Web UI for those who may read it."""

from typing import Annotated

import typer

from connection import sealing
from connection.places import STATE_DIR
from connection.problems import Problem
from desk import rendering
from desk.app import command

USUAL_WEB_UI = "http://127.0.0.1:8233"


@command
async def codec(
    *,
    port: Annotated[int, typer.Option(help="Where it listens; 0: a free port.", min=0, max=65_535)] = 8234,
    host: Annotated[
        str, typer.Option(help="Where it listens; open to others it needs LIVING_IMAGE_CODEC_TOKEN.")
    ] = "127.0.0.1",
    web_ui: Annotated[
        str | None,
        typer.Option(
            "--web-ui",
            metavar="URL",
            help="The Web UI whose pages may ask.",
            show_default=f"that of our dev server, or {USUAL_WEB_UI}",
        ),
    ] = None,
) -> None:
    """Serve the Web UI and `temporal` what is encrypted, decrypted by LIVING_IMAGE_KEYS. Ctrl-C ends it."""
    from connection.codec import Codec
    from connection.server import DEFAULT_ADDRESS, profile
    from connection.web_ui import known_web_ui
    from desk.codec_server import CodecServer, listen, serve

    keys = sealing.keys()
    if keys is None:
        raise Problem(
            f"{sealing.VARIABLE} is not set, so nothing can be decrypted; set it to the keys of the workers"
        )
    known = known_web_ui(profile().address or DEFAULT_ADDRESS, STATE_DIR)
    pages = web_ui or known or USUAL_WEB_UI
    server = CodecServer(Codec(keys), pages)
    listening = listen(host, port)
    named = f"[{host}]" if ":" in host else host
    url = f"http://{named}:{listening.getsockname()[1]}"
    for line in (
        f"Decrypts at {url} for the Web UI at {pages}. Ctrl-C ends it.",
        f"In the Web UI, behind the glasses at the top: Codec Server browser endpoint {url}",
        f"On the command line: temporal workflow show --detailed --codec-endpoint {url} --workflow-id ID",
    ):
        rendering.out.print(rendering.words(line), soft_wrap=True)
    await serve(server.app(), listening)
