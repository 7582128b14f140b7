"""How a command is made and how it ends, and what all commands share.

What a command needs is imported when it runs: nobody who asks for help waits for it.
"""

import asyncio
import functools
import inspect
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import RenderableType

from connection import sealing, tracing
from connection.problems import Problem, leave
from desk import rendering
from desk.problems import CANNOT, DONE, EXIT_CODES, INTERRUPTED, exit_code

if TYPE_CHECKING:
    from pydantic import BaseModel

    from desk.client import Desk
    from messages.requests import Reason

Model = TypeVar("Model", bound="BaseModel")
Answer = TypeVar("Answer")

app = typer.Typer(
    help="Talk to a living image: give it tasks, see how it is, decide on what it proposes.",
    epilog=EXIT_CODES,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def command(work: Callable[..., Coroutine[Any, Any, None]], group: typer.Typer = app) -> None:
    """Make an async function a command; a Problem ends it with one sentence and an exit code.

    Where `desk` stands among its parameters, --image and --settings stand among its options.
    """
    taken = inspect.signature(work)

    async def begin(**words: Any) -> None:
        if "desk" in taken.parameters:
            from desk.client import Desk

            words["desk"] = await Desk.open(words.pop("image"), words.pop("settings"))
        with tracing.span(f"starter.py {work.__name__}"):
            await work(**words)

    # Without its annotations: typer would look for a `Desk`, which is not imported yet.
    @functools.wraps(work, assigned=("__name__", "__doc__"))
    def run(**typed: object) -> None:
        from connection.logs import configure_logs

        configure_logs()
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # see starter.py
            sealing.keys()  # so that nothing is done where they cannot be read
            with tracing.sending():
                asyncio.run(begin(**{name: as_text(value) for name, value in typed.items()}))
        except Problem as problem:
            rendering.err.print(rendering.words(problem), soft_wrap=True)
            raise typer.Exit(exit_code(problem)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    options = [
        option
        for name, parameter in taken.parameters.items()
        for option in (WHICH_DESK if name == "desk" else [parameter])
    ]
    run.__signature__ = taken.replace(parameters=options)  # type: ignore[attr-defined]
    group.command(epilog=EXIT_CODES)(run)


class FileName(str):
    """The name of a file, or its URL, as it was typed: any bytes may be in it."""


def as_text(typed: object) -> object:
    """What was typed, if it is words: as UTF-8, whatever the locale says. Raises Problem for other bytes."""
    match typed:
        case FileName():
            return typed
        case str():
            try:
                return os.fsencode(typed).decode()
            except UnicodeDecodeError:
                raise Problem(f"{typed!a} is not text in UTF-8. Type it anew") from None
        case list():
            return [as_text(each) for each in typed]
    return typed


def request(model: type[Model], **values: object) -> Model:
    """A request as the person typed it. Raises Problem."""
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        faults = (
            ": ".join([*map(str, fault["loc"]), fault["msg"].removeprefix("Value error, ")])
            for fault in error.errors(include_url=False)
        )
        raise Problem("; ".join(faults)) from None


Image = Annotated[
    str | None, typer.Option("--image", metavar="ID", help="Which image; else the one settings.toml names.")
]
SettingsPath = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="Which settings file; else settings.toml here."),
]
WHICH_DESK = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
    for name, kind in (("image", Image), ("settings", SettingsPath))
]
StateDir = Annotated[
    Path, typer.Option("--state-dir", metavar="FOLDER", help="Where the worker keeps its memory.")
]
Json = Annotated[bool, typer.Option("--json", help="Plain JSON on stdout, and nothing else there.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; else your login name.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the event.")]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; it is kept in the ledger.")]

Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="Write it as CSV for a notebook, times in ISO 8601; - is stdout. "
        "A ' goes before text that a spreadsheet would compute.",
    ),
]


def why(reason: str) -> "Reason":
    from messages.requests import Reason

    return request(Reason, reason=reason)


def present(value: Any, as_json: bool, look: Callable[[], RenderableType]) -> None:
    if as_json:
        rendering.print_json(value)
    else:
        rendering.out.print(look(), crop=False)


def reading(
    name: str,
    meaning: str,
    ask: Callable[["Desk"], Awaitable[Answer]],
    look: Callable[[Answer], RenderableType],
) -> None:
    """Make a question to the image, which takes no more words, a command."""

    async def read(*, as_json: Json = False, desk: "Desk") -> None:
        answer = await ask(desk)
        present(answer, as_json, lambda: look(answer))

    read.__name__, read.__doc__ = name, meaning
    command(read)


def say(sentence: str) -> Callable[[], RenderableType]:
    return lambda: rendering.words(sentence)


def main() -> None:
    try:
        app()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else DONE)
    except OSError as error:
        sys.stdout = sys.stderr  # what is left in its buffer cannot be written either
        print(f"The answer could not be written: {error.strerror}", file=sys.stderr)
        leave(CANNOT)
