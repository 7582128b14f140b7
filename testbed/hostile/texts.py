"""settings.toml and prompts.toml with anything in them."""

import logging
from pathlib import Path

from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.prompts import PROMPTS, BrokenPrompts, Prompts, required_entries
from activities.settings import SettingsFiles
from configuration import InvalidSettings
from configuration.reading import SettingsUnreadable, load_settings
from messages.files import Rewrite
from messages.loops import Change
from messages.requests import Decision
from testbed.hostile.words import naughty, numbers
from testbed.processes import ROOT

SETTINGS = (ROOT / "settings.toml").read_bytes()
SHIPPED_PROMPTS = PROMPTS.read_bytes()
LONGEST_SENTENCE = 3_000
TURNS = "autopoiesis.max_turns"
FIELDS = ("task", "plan", "thesis", "antithesis", "research", "memory")

_PIECES = (
    *(
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\r\n",
        b"\r",
        b"#",
        b'"',
        b"'''",
        b"=",
        b"[",
        b"]]",
        b"{",
        b"\\",
    ),
    *(b"nan", b"inf", b"-inf", b"1e400", b"0x", b"1979-05-27", b"[[x]]\n", b"a.b.c = 1\n", b"a" + b".a" * 40),
    *(b"[governance]\n", b"[custom.x]\nvalue = nan\n", b"[custom.'']\nvalue = 1\n", b"max_turns = true\n"),
)
pieces = st.one_of(
    naughty.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(_PIECES),
    st.binary(max_size=30),
    numbers.map(lambda number: str(number).encode()),
)


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """A good text after a few edits: something cut out, put in, doubled, or a value replaced."""
    text = good
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["cut", "put", "double", "value", "line"])):
            case "cut":
                text = text[:start] + text[end:]
            case "put":
                text = text[:start] + draw(pieces) + text[start:]
            case "double":
                text = text[:end] + text[start:]
            case "value":
                lines = text.split(b"\n")
                number = draw(st.integers(0, len(lines) - 1))
                lines[number] = lines[number].partition(b"=")[0] + b"= " + draw(pieces)
                text = b"\n".join(lines)
            case "line":
                lines = text.split(b"\n")
                lines.insert(draw(st.integers(0, len(lines))), draw(pieces))
                text = b"\n".join(lines)
    return text


def texts_like(good: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(good), mutated(good), mutated(good), st.binary(max_size=200), pieces)


settings_files = texts_like(SETTINGS)
prompts_files = texts_like(SHIPPED_PROMPTS)


def try_settings(folder: Path, text: bytes) -> None:
    """The text makes settings, or is refused in a sentence; a rewrite changes one value, or nothing."""
    file = folder / "settings.toml"
    file.write_bytes(text)
    try:
        settings = load_settings(file)
    except (InvalidSettings, SettingsUnreadable) as error:
        assert len(str(error)) < LONGEST_SENTENCE, len(str(error))
        return
    old = settings.autopoiesis.max_turns
    new = old + 1 if old < 10 else old - 1
    approved = Decision(verdict="approve", approver="Ada")
    order = Rewrite(loop_id="a/loop/1", changes=[Change(key=TURNS, old=old, new=new)], decision=approved)
    files = SettingsFiles(file)
    try:
        ActivityEnvironment().run(files.read_settings)
        files.preview_rewrite(order)
        ActivityEnvironment().run(files.rewrite_settings, order)
    except ApplicationError as error:
        assert len(error.message) < LONGEST_SENTENCE
        assert file.read_bytes() == text
        return
    finally:
        for backup in folder.glob("settings.backups/*"):
            backup.unlink()
    assert load_settings(file) == settings.with_changes({TURNS: new})


def try_prompts(folder: Path, text: bytes) -> None:
    """Each entry of the text is filled in, or refused in a sentence."""
    file = folder / "prompts.toml"
    file.write_bytes(text)
    logging.getLogger("activities.prompts").disabled = True
    prompts = Prompts(file)
    for entry in required_entries():
        try:
            messages = prompts.messages(entry, dict.fromkeys(FIELDS, "{task} \x1b[2J"))
        except BrokenPrompts as error:
            assert "; " in str(error)
            continue
        assert [message["role"] for message in messages] == ["system", "user"]
