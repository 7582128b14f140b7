"""Two hundred rounds of chaos: `python -m benchmarks.chaos [--rounds 200] [--seed N] [--minutes M]`.

One image lives through all of them: tasks, ratings, approvals, rejections, hand edits, snapshots, trials and
verifications, while worker and server are killed, the disk fills, the worker's clock jumps, and the model
server hangs, drops connections and answers garbage. After each round a checker looks from outside. The exit
code is 1 if it found a violation. A seed repeats the choices; when a kill strikes is never quite the same.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos.body import Body
from benchmarks.chaos.person import Person
from benchmarks.chaos.rounds import KINDS, PACE_DECLARED, SETTINGS, Rounds, order, script
from benchmarks.chaos.witness import Witness
from connection.logs import configure_logs
from testbed.fake_ollama import FakeOllama
from testbed.processes import ROOT
from testbed.world import Image

APART = "LIVING_IMAGE_CHAOS_APART"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="how many rounds (200)")
    parser.add_argument("--seed", type=int, default=1, help="of all choices (1)")
    parser.add_argument("--minutes", type=float, default=120, help="begin no round after so many (120)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="rounds of these kinds alone")
    parser.add_argument("--json", action="store_true", help="the figures at the end as JSON")
    parser.add_argument("--keep", type=Path, help="a new folder for all files, which stays")
    told = parser.parse_args()
    _go_apart()
    folder = told.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(exist_ok=True)
    logging.basicConfig(filename=folder / "log", level=logging.INFO, format="%(asctime)s %(message)s")
    configure_logs()
    violations = asyncio.run(live(told, folder.absolute()))
    if violations:
        print(f"The files of this life are in {folder}", file=sys.stderr)
    elif not told.keep:
        shutil.rmtree(folder)
    sys.exit(bool(violations))


def _go_apart() -> None:
    """Go on in namespaces of our own, where that is permitted: a small disk can be mounted, and nothing that
    was started outlives us."""
    under = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if APART in os.environ:
        return
    permitted = shutil.which(under[0]) and os.system(f"{' '.join(under)} true 2>/dev/null") == 0
    if permitted:
        os.environ[APART] = "1"
        os.execvp(under[0], [*under, sys.executable, "-m", "benchmarks.chaos", *sys.argv[1:]])


async def live(told: argparse.Namespace, folder: Path) -> list[str]:
    """A whole life; all violations."""
    chance = random.Random(told.seed)
    async with FakeOllama(script()) as fake, Body(folder, fake, APART in os.environ) as body:
        image = Image(body.client, fake.url, body.home, SETTINGS)
        with image.file.open("a") as file:
            file.write(PACE_DECLARED)
        await body.live(image)
        person = Person(image, fake, chance)
        rounds = Rounds(body, person, Witness(person, body.story), fake, told.seed)
        for line in limits(body):
            print(line)
        # So that it knows its conditions, under which the person's logs are to count.
        await person.ask(2)
        await rounds.witness.settled()
        began = time.monotonic()
        lived = 0
        for number, kind in enumerate(order(told.only, told.rounds, chance), 1):
            if time.monotonic() - began > told.minutes * 60:
                break
            started = time.monotonic()
            found = await rounds.live(number, kind)
            lived = number
            if not told.json:
                print(
                    f"{number:4} {kind:10} {time.monotonic() - started:5.1f} s",
                    *found,
                    sep="\n    ",
                    flush=True,
                )
            if found:
                break
        rounds.met["runs of the image"] = (await image.status()).runs
        report(told, rounds, lived, time.monotonic() - began)
        return rounds.violations


def limits(body: Body) -> Iterator[str]:
    """What of the chaos this machine does not permit."""
    if not body.may_fill:
        yield "no disk fills: mounting a small one is not permitted here"
    if body.clock:
        yield "the clock of the worker jumps, by libfaketime; that of the server does not"
    else:
        yield "no clock jumps: libfaketime is not installed"


def report(told: argparse.Namespace, rounds: Rounds, lived: int, seconds: float) -> None:
    back = sorted(rounds.body.back)
    figures = {
        "rounds": lived,
        "minutes": round(seconds / 60, 1),
        "kills": rounds.body.kills,
        "violations": rounds.violations,
        "seconds from kill to progress": {
            "median": round(statistics.median(back), 2) if back else None,
            "p95": round(back[int(0.95 * len(back))], 2) if back else None,
            "longest": round(back[-1], 2) if back else None,
            "measured": len(back),
        },
        "tasks": len(rounds.person.tasks),
        "looks at settings.toml": rounds.witness.looks,
        "met": dict(sorted(rounds.met.items())),
    }
    print(json.dumps(figures, indent=None if told.json else 2), flush=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
