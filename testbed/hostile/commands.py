"""Anything typed at the command line: every command of starter.py with every option of its own."""

import asyncio
import os
import re
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main
from hypothesis import strategies as st

from desk.app import app
from testbed.forked import Forked
from testbed.hostile.words import numbers, texts
from testbed.processes import ROOT

CODES = (0, 1, 2)
SECONDS = 120
"""What is not done by then hangs, but for what serves until it is stopped."""
SERVES = ("codec", "mcp", "watch")
ALWAYS = {"ask": ["--timeout", "20s"], "pause": ["--nothing"]}
"""A paused image argues nothing out, and whoever asks it waits as long as they say."""
NEVER = {"retire": "--yes", "restore": "--yes"}
"""Which would end the image that the next case talks to."""

for _module in re.findall(r"^import (desk\.\w+)$", (ROOT / "starter.py").read_text(), re.MULTILINE):
    import_module(_module)  # each adds its commands; starter.py itself would take over our streams
commands: Any = typer.main.get_command(app)


def _words(text: str) -> str:
    """What can be typed: no NUL, no half of a character, and no way out of the folder."""
    typed = text.replace("\x00", "").replace("/", "_").replace("~", "_")[:20_000]
    return typed.encode("utf-8", "replace").decode()


typed = st.one_of(
    texts.map(_words),
    numbers.map(str),
    st.sampled_from(
        [
            "",
            "-",
            "--",
            "-x",
            "--help",
            "--json",
            "--nothing",
            "1",
            "loop",
            "1h",
            "-1h",
            "1ms",
            "9w",
            "nan",
            "a=b=c",
            "=",
            "s3:",
            "http:",
        ]
    ),
    st.sampled_from(["", "-", "--", "-x", "--help", "--json", "--nothing", "1", "loop", "1h", "-1h", "9w"]),
    st.sampled_from(["1ms", "nan", "a=b=c", "=", "s3:", "http:"]),
    st.sampled_from(["autopoiesis.max_turns=9", "memory://x", "settings.toml", "\udcff\udcfe"]),
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """One command with some of its arguments and options, each with anything for a value."""
    name = draw(st.sampled_from([*commands.commands, *commands.commands, "nothing"]))
    words = [name] if name != "nothing" else [draw(typed)]
    for parameter in commands.commands[name].params if name in commands.commands else ():
        if parameter.param_type_name == "option":
            if draw(st.integers(0, 3)) or NEVER.get(name) in parameter.opts:
                continue
            words.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
            if not parameter.is_flag:
                words.append(draw(typed))
        elif draw(st.integers(0, 4)):
            words.append(draw(typed))
    if draw(st.integers(0, 3)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(typed))
    return words + ALWAYS.get(name, [])


class Typing:
    """Somebody who types into a folder with a settings.toml, beside the server at an address."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LOGNAME": "marie",
            "COLUMNS": "200",
            "TEMPORAL_ADDRESS": address,
        }

    async def type(self, words: list[str]) -> None:
        """The command ends by itself, with an exit code that is known, and never with a traceback."""
        with tempfile.TemporaryDirectory() as streams:
            out, err = Path(streams) / "out", Path(streams) / "err"
            process = Forked(ROOT / "starter.py", words, self._folder, self._environment, out=out, err=err)
            serves = words[0] in SERVES
            try:
                code = await asyncio.wait_for(process.wait(), 3 if serves else SECONDS)
            except TimeoutError:
                assert serves, "it hangs"
                code = 0
            finally:
                process.kill()
            said = out.read_bytes() + err.read_bytes()
        assert code in CODES, (code, said[-600:])
        assert b"Traceback (most recent" not in said, said[-900:]
