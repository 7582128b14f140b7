"""A person in the life of an image: `python -m benchmarks.lived`, beside a `make run` of the same folder.

It hands in the questions of questions.txt through starter.py, asks for a look at the logs, approves what is
proposed, gives tasks until that is verified, and does as the image asks. What it sees goes to stdout.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
QUESTIONS = [
    line.split(" ", 1) for line in Path(__file__).with_name("questions.txt").read_text().splitlines()
]
LOOK_EVERY_SECONDS = 20.0
UNDECIDED = ("analysing", "trying", "rewriting")


class Person:
    """Uses the command line. `before`: tasks before the first look at the logs. `then`: between two looks."""

    def __init__(self, tasks: int, before: int, then: int, plots: Path) -> None:
        self.tasks, self.before, self.then, self.plots = tasks, before, then, plots

    def live(self) -> None:
        self.give(self.before)
        while self.given() < self.tasks:
            loop_id, state = self.reflect()
            if state == "pending":
                self.show("approve", loop_id, "--yes", "--by", "Ada")
                self.verify(loop_id)
            self.give(self.then)
        for told in ("status", "verification", "history", "observations", "logs"):
            self.show(told)

    # --- tasks ---

    def given(self) -> int:
        status = self.read("status")
        return int(status["finished"] + status["running"] + status["queued"])

    def give(self, count: int) -> None:
        """Hand in the next questions, and wait until all is argued out."""
        first = self.given()
        for number, (kind, question) in enumerate(QUESTIONS[first : first + count], first + 1):
            self.run("ask", "--no-wait", "--type", kind, "--task-id", f"q{number}", question)
        while (status := self.read("status"))["running"] or status["queued"]:
            time.sleep(LOOK_EVERY_SECONDS)

    # --- changes ---

    def reflect(self) -> tuple[str, str]:
        """Ask for a look at the logs; the loop, and what it came to."""
        loop_id: str = self.read("reflect")["loop_id"]
        while (view := self.read("show", loop_id))["state"] in UNDECIDED:
            time.sleep(LOOK_EVERY_SECONDS)
        self.show("show", loop_id)
        return loop_id, view["state"]

    def verify(self, loop_id: str) -> None:
        """Give tasks until there is a verdict, and go back where the image asks for it."""
        while self.read("verification")["verdict"] is None and self.given() < len(QUESTIONS):
            self.give(2)
        self.show("verification")
        self.show("show", loop_id, "--plot", str(self.plots / f"{loop_id.replace('/', '-')}.png"))
        if reversal := self.read("verification")["reversal"]:
            while self.read("show", reversal)["state"] in UNDECIDED:
                time.sleep(LOOK_EVERY_SECONDS)
            self.show("show", reversal)
            self.show("approve", reversal, "--yes", "--by", "Ada")

    # --- the command line ---

    def run(self, *words: str) -> str:
        command = [sys.executable, str(PROJECT / "starter.py"), *words]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)
        if ended.returncode > 1:
            sys.exit(f"{' '.join(words)}: {ended.stderr}")
        return ended.stdout

    def read(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    def show(self, *words: str) -> None:
        print(
            f"{time.strftime('%H:%M')} $ python starter.py {' '.join(words)}\n{self.run(*words)}", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lived", description=__doc__)
    parser.add_argument("--tasks", type=int, default=60, help="at least so many tasks (60)")
    parser.add_argument("--before", type=int, default=14, help="tasks before the first look at the logs (14)")
    parser.add_argument("--then", type=int, default=8, help="tasks between two looks (8)")
    parser.add_argument("--plots", type=Path, default=Path(), help="the folder for pictures (.)")
    told = parser.parse_args()
    Person(told.tasks, told.before, told.then, told.plots.absolute()).live()
