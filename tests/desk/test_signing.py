"""Deciding with a key: from the command line, by a real SSH agent, through a real worker."""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from configuration import Settings
from messages.image import ReloadReceipt
from testbed.fake_ollama import FakeOllama
from testbed.signing import Signer, govern, governed
from testbed.world import OTHER, World
from tests.desk.command_line import Starter
from tests.desk.screen import Screen
from tests.desk.test_mcp import called, refused, tools
from tests.killing import Killed
from tests.test_configuration import shipped
from tests.workflows.refusing import refusal

ADA, BOB = Signer("Ada"), Signer("Bob")
NO_AGENT = not (shutil.which("ssh-agent") and shutil.which("ssh-add"))


@pytest.fixture
async def world(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """An image on which Ada and Bob decide together."""
    async with governed(client, ollama, tmp_path, 2, ADA, BOB) as world:
        yield world


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an SSH agent of the test's own, which holds Ada's key."""
    if NO_AGENT:
        pytest.skip("needs ssh-agent and ssh-add")
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(SSH_\w+)=([^;]+);", said))
    environment = os.environ | found
    try:
        key = ADA.write(tmp_path / "ada")
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        (tmp_path / "ada").unlink()
        yield found["SSH_AUTH_SOCK"]
    finally:
        subprocess.run(["ssh-agent", "-k"], env=environment, capture_output=True, check=True)


def ssh_keygen(*arguments: str) -> str:
    if not shutil.which("ssh-keygen"):
        pytest.skip("needs ssh-keygen")
    ended = subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=True)
    return ended.stdout


async def test_two_people_approve_with_their_keys(world: World, starter: Starter, tmp_path: Path) -> None:
    view = await world.pending_proposal()
    missing = await starter("approve", "--yes")
    assert missing.code == 2
    assert (
        f"Only a signature of Ada, Bob counts for {view.loop_id}, and the SSH agent is not there. "
        "Name a file with --key, or add the key with ssh-add"
    ) in missing.err
    await world.loop(view.loop_id).signal("approve", "Mallory")
    first = await starter("approve", "--yes", "--key", ADA.write(tmp_path / "ada"))
    assert first.code == 0
    assert "Your signature counts. 1 more of the same approval is wanted" in first.out
    shown = (await starter("show")).out
    assert "2 wanted, 1 missing; signed by Ada, " in shown
    assert "approve by 'Mallory': this decision does not count: it is not signed" in shown
    second = await starter("approve", "--yes", "--json", "--key", BOB.write(tmp_path / "bob"))
    assert (second.code, second.json["state"], second.json["decided_by"]) == (0, "approved", "Ada, Bob")
    assert world.on_file().autopoiesis.max_turns == 3


async def test_an_agents_key_rejects_for_a_person_and_signs_for_a_model(
    world: World, starter: Starter, agent: str
) -> None:
    view = await world.pending_proposal()
    async with tools(starter, "--allow-approve") as client:
        assert "Only a signature of Ada, Bob counts" in await refused(
            client, "approve", loop="1", digest=view.digest
        )
    starter.environment["SSH_AUTH_SOCK"] = agent
    async with tools(starter, "--allow-approve") as client:
        assert "look at it again" in await refused(client, "approve", loop="1", digest="0" * 64)
        assert "Your signature counts" in await refused(client, "approve", loop="1", digest=view.digest)
        assert (await called(client, "show", loop="1"))["signatures"]["missing"] == 1
    ran = await starter("reject", "--yes", "--json")
    assert (ran.code, ran.json["state"], ran.json["decided_by"]) == (0, "rejected", "Ada")


async def test_an_agent_that_is_away_or_holds_another_key_is_told_of(
    world: World, starter: Starter, agent: str, tmp_path: Path
) -> None:
    world.file.write_text(world.file.read_text().replace(ADA.line, Signer("Eve").line))
    await world.update("reload_settings", None, ReloadReceipt)
    await world.pending_proposal()
    starter.environment["SSH_AUTH_SOCK"] = agent
    ran = await starter("approve", "--yes")
    assert (ran.code, "the SSH agent holds no such key" in ran.err) == (2, True)
    starter.environment["SSH_AUTH_SOCK"] = str(tmp_path / "nowhere")
    ran = await starter("approve", "--yes")
    assert (ran.code, "does not answer" in ran.err) == (2, True)


async def test_a_file_that_cannot_sign_is_told_in_a_sentence(
    world: World, starter: Starter, tmp_path: Path
) -> None:
    await world.pending_proposal()
    (tmp_path / "words").write_text("no key")
    ssh_keygen("-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "closed"))
    for file, told in {
        "gone": "cannot be read (No such file or directory)",
        "words": "holds no private key in OpenSSH's format",
        "closed": "ssh-add FILE",
        Path(Signer("Eve").write(tmp_path / "eve")).name: "is none of those that may decide",
    }.items():
        ran = await starter("approve", "--yes", "--key", str(tmp_path / file))
        assert (ran.code, told in ran.err.splitlines()[-1]) == (2, True), ran.err


async def test_a_passphrase_is_asked_for_and_opens_the_key(
    world: World, starter: Starter, tmp_path: Path
) -> None:
    await world.pending_proposal()
    file = tmp_path / "closed"
    ssh_keygen("-q", "-t", "ed25519", "-N", "secret", "-f", str(file))
    words = ("approve", "--yes", "--key", str(file))
    async with Screen(starter, *words) as screen:
        await screen.until("Passphrase of")
        screen.type("wrong\r")
        await screen.until("or the passphrase was another one")
        assert await screen.ended() == 2
    line = file.with_suffix(".pub").read_text().split(" ")[:2]
    world.file.write_text(world.file.read_text().replace(BOB.line, " ".join([*line, "Cid"])))
    await world.update("reload_settings", None, ReloadReceipt)
    reflected = await starter("reject", "--yes", "--key", ADA.write(tmp_path / "ada"))
    assert reflected.code == 0, reflected.err
    await world.pending_proposal(OTHER)
    async with Screen(starter, *words) as screen:
        await screen.until("Passphrase of")
        screen.type("secret\r")
        await screen.until("Your signature counts.")
        assert "secret" not in screen.shows
        assert await screen.ended() == 0


async def test_keygen_makes_a_key_that_the_settings_take_and_never_writes_over_one(tmp_path: Path) -> None:
    starter = Starter(tmp_path, "127.0.0.1:1")
    ran = await starter("keygen")
    assert ran.code == 0
    file = tmp_path / ".ssh" / "living-image"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (entry,) = re.findall(r"^approvers = (.*)$", ran.out, re.MULTILINE)
    settings = Settings.parse(shipped(governance__approvers=json.loads(entry)))
    assert settings.governance.who_decides() == "marie"
    assert ssh_keygen("-y", "-f", str(file)).split()[:2] == json.loads(entry)[0].split()[:2]
    before = file.read_bytes()
    file.with_name("living-image.pub").unlink()
    again = await starter("keygen", str(file))
    assert (again.code, "is there already and stays as it is" in again.sentence) == (2, True)
    assert file.read_bytes() == before


async def test_a_false_signature_does_not_take_a_worker_down(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path)
    govern(world, 1, ADA)
    await world.start()
    with world.process() as process:
        view = await world.pending_proposal()
        forged = {**ADA.decision(view), "changes": {"autopoiesis.max_turns": 5}}
        sending = world.loop(view.loop_id).execute_update("decide", forged)
        assert "is not over this" in (await refusal(sending)).message
        approved = await world.loop(view.loop_id).execute_update("decide", ADA.decision(view))
        assert approved["state"] == "approved"
        assert process.poll() is None
