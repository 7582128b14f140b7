"""What the tests of settings.toml share, and, as a program, rewrites that are disturbed on the way.

`python -m tests.activities.settings_files NAME_OF_A_FUNCTION ARGUMENT ...` for the functions at the end.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.settings import SettingsFiles
from activities.settings_rewriting import check_writable
from messages.files import Rewrite, RewriteReceipt
from messages.loops import Change
from messages.requests import Decision

SHIPPED = (Path(__file__).parents[2] / "settings.toml").read_text(encoding="utf-8")
REWRITTEN = SHIPPED.replace("max_turns = 4", "max_turns = 3")
TURNS, THRESHOLD = "autopoiesis.max_turns", "autopoiesis.convergence_threshold"
LOOP = "living-image/loop/3"
ALL_STEPS_DONE = 3


def turns(old: int, new: int, loop_id: str = LOOP) -> Rewrite:
    return Rewrite(loop_id=loop_id, changes=[Change(key=TURNS, old=old, new=new)])


ORDER = turns(4, 3)


def rewrite(path: Path, order: Rewrite = ORDER, run_id: str = "first") -> RewriteReceipt:
    environment = ActivityEnvironment()
    environment.info = replace(ActivityEnvironment.default_info(), workflow_run_id=run_id)
    order = order.model_copy(update={"decision": Decision(verdict="approve", approver="Ada")})
    receipt = environment.run(SettingsFiles(path).rewrite_settings, order)
    assert isinstance(receipt, RewriteReceipt)
    return receipt


def put_down(folder: Path) -> Path:
    """The shipped settings.toml, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.toml"
    path.write_text(SHIPPED, encoding="utf-8")
    return path


def edit(path: Path, old: str, new: str) -> None:
    """What a person does in an editor."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def backups(path: Path) -> list[Path]:
    return list((path.parent / "settings.backups").glob("[!.]*"))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the program ----------------------------------------------------------------------------------


def kill_at_every_step(start: str, folder: str) -> None:
    """Leave in a folder for each step what a rewrite leaves behind that was killed before it."""
    assert set(_disturb_every_step(Path(start), Path(folder), lambda _: _die())) == {-signal.SIGKILL}


def edit_at_every_step(start: str, folder: str, old: str, new: str) -> None:
    """Leave in a folder for each step what a rewrite makes of a file that was edited before it."""
    mine = SHIPPED.replace(old, new)
    assert set(_disturb_every_step(Path(start), Path(folder), lambda path: _save(path, mine))) == {0}


def kill_at_random(folder: str, seed: str) -> None:
    """Start rewrites of one file and kill each after a while, until one comes through."""
    chance, path = random.Random(seed), put_down(Path(folder))
    for attempt in count(1):
        child = _fork(partial(rewrite, path))
        # Longer each time, so that a slow disk or a busy machine gets there as well.
        time.sleep(chance.uniform(0, 0.001 * 1.05**attempt))
        os.kill(child, signal.SIGKILL)
        status = _exit_status(child)
        assert path.read_text(encoding="utf-8") in (SHIPPED, REWRITTEN)
        if status == 0:
            return
        assert status == -signal.SIGKILL


def rewrite_as_nobody(path: str) -> None:
    """Print what `check_writable` and a rewrite say to a user without rights."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    for attempt in (check_writable, rewrite):
        try:
            attempt(Path(path))
            print("done")
        except Exception as error:
            print(error)


def rewrite_once(path: str) -> None:
    """Print that a rewrite was carried out, or what it failed with."""
    try:
        rewrite(Path(path))
        print("done")
    except Exception as error:
        print(error)


def _disturb_every_step(start: Path, folder: Path, disturb: Callable[[Path], None]) -> list[int]:
    """The exit status of a rewrite for each of its steps; a step is a file opened, moved, made, removed.

    The interpreter itself tells of them (audit events), before they are taken. Every rewrite has a folder of
    its own, which begins as a copy of `start`.
    """

    def attempt(path: Path, step: int) -> None:
        seen = 0

        def watch(event: str, _: Any) -> None:
            nonlocal seen
            if event == "open" or event.startswith("os."):
                seen += 1
                if seen == step:
                    disturb(path)

        sys.addaudithook(watch)
        rewrite(path)
        if seen < step:
            os._exit(ALL_STEPS_DONE)

    found: list[int] = []
    for step in count(1):
        path = shutil.copytree(start, folder / f"{step:03d}") / "settings.toml"
        status = _exit_status(_fork(partial(attempt, path, step)))
        if status == ALL_STEPS_DONE:
            shutil.rmtree(path.parent)  # nothing disturbed this one
            return found
        found.append(status)
    return found


def _fork(work: Callable[[], object]) -> int:
    # This program has one thread and all its modules, so a child is at work at once.
    if child := os.fork():
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def _exit_status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _save(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
