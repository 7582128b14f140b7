"""The command `keygen`: a key for deciding on proposals."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from connection.problems import Problem
from desk import rendering
from desk.app import By, Json, command, present

DEFAULT = Path("~/.ssh/living-image")


@command
async def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where the key goes; never over another file.")
    ] = DEFAULT,
    *,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Make a key for signing decisions, and say what to put into settings.toml."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from configuration.approvers import NAME_CHARACTERS, written
    from desk.deciding import login_name

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    name = " ".join((by or login_name()).split())[:NAME_CHARACTERS]
    public = f"{written(key.public_key().public_bytes_raw())} {name}"
    file = file.expanduser()
    beside = file.with_name(f"{file.name}.pub")
    if beside.exists() or beside.is_symlink():
        raise Problem(f"{beside} is there already and stays as it is. Name another file")
    _write_new(file, private, 0o600)
    _write_new(beside, f"{public}\n".encode(), 0o644)
    entry = f"approvers = [{json.dumps(public, ensure_ascii=False)}]"
    value = {"file": str(file), "public_key": public, "settings": entry}
    sentence = (
        f"The key is in {file}, its public half in {beside.name} beside it. Into [governance]:"
        f"\n\n{entry}\n\nA passphrase protects it: ssh-keygen -p -f FILE, and then ssh-add FILE."
    )
    present(value, as_json, lambda: rendering.whole(sentence))


def _write_new(file: Path, content: bytes, mode: int) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
    except FileExistsError:
        raise Problem(f"{file} is there already and stays as it is. Name another file") from None
    except OSError as error:
        raise Problem(f"{file} cannot be written ({error.strerror}). Name another file") from None
