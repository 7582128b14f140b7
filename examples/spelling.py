"""A program that tunes itself: it corrects city names, and learns how near a word must be to count as one.

    python examples/spelling.py --tasks 40        # see examples/README.md

Its one knob, `[custom.cutoff]`, is the image's to propose and a person's to approve. Before each task it asks
which value to use, and after it says how many of its twenty words it got wrong.
"""

import argparse
import difflib
import json
import os
import random
import sys
import urllib.error
import urllib.request
from pathlib import Path

DOOR = os.environ.get("LIVING_IMAGE_DOOR", "http://127.0.0.1:7411/v1")
TOKEN = os.environ.get("LIVING_IMAGE_DOOR_TOKEN", "")
CITIES = (Path(__file__).parent / "cities.txt").read_text().split()
OTHERS = ["apple", "barrel", "market", "parish", "ravine", "roman", "sofa", "tallow", "viaduct", "warlock"]


def call(path: str, message: dict[str, object]) -> dict[str, object]:
    """POST JSON to the door, and read what it answers."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"{DOOR}/{path}", json.dumps(message).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, object] = json.load(answer)
    return told


def typed(chance: random.Random) -> tuple[str, str | None]:
    """A word as somebody typed it, and the city that was meant, if one was."""
    if chance.random() < 0.3:
        return chance.choice(OTHERS), None
    city = chance.choice(CITIES)
    letters = list(city)
    for _ in range(chance.choice((1, 2, 2, 3))):
        letters[chance.randrange(len(letters))] = chance.choice("abcdefghijklmnopqrstuvwxyz")
    return "".join(letters), city


def wrong(cutoff: float, chance: random.Random) -> float:
    """The share of twenty words that this cutoff gets wrong."""
    words = [typed(chance) for _ in range(20)]
    found = [difflib.get_close_matches(word, CITIES, n=1, cutoff=cutoff) for word, _ in words]
    meant = [[city] if city else [] for _, city in words]
    return sum(near != city for near, city in zip(found, meant, strict=True)) / 20


def run(first: int, count: int) -> None:
    for number in range(first, first + count):
        task_id = f"spelling-{number}"
        cutoff = float(call("assign", {"task_id": task_id})["custom"]["cutoff"])  # type: ignore[index]
        loss = wrong(cutoff, random.Random(number))
        log = {"task_id": task_id, "task_type": "spelling", "final_dissonance": loss, "turn_count": 1}
        call("performance", {**log, "outcome": "max_turns"})
        print(f"{task_id}: cutoff {cutoff:g}, {loss:.0%} wrong")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=0, help="The number of the first task.")
    parser.add_argument("--tasks", type=int, default=40, help="How many tasks.")
    given = parser.parse_args()
    try:
        run(given.first, given.tasks)
    except urllib.error.HTTPError as error:
        sys.exit(f"The door at {DOOR} refused: {error.read().decode()}")
    except OSError as error:
        sys.exit(f"No door answers at {DOOR} ({error}); start a worker with --door, or set LIVING_IMAGE_DOOR")
