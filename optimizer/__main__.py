"""python -m optimizer: answers questions, a line of JSON each, until there are no more for some minutes.

An OptimizerRequest on stdin is answered by an OptimizerAnswer on stdout, or by {"failure": why}.
"""

import json
import select
import sys

from messages.common import excerpt
from messages.loops import OptimizerRequest
from optimizer.consider import consider

IDLE_SECONDS = 300


def answer(line: bytes) -> str:
    try:
        return consider(OptimizerRequest.model_validate_json(line)).model_dump_json()
    except Exception as error:  # whatever it is, the next question may be answered
        return json.dumps({"failure": excerpt(f"{type(error).__name__}: {error}", 500)})


if __name__ == "__main__":
    questions = sys.stdin.buffer
    while select.select([questions], [], [], IDLE_SECONDS)[0] and (line := questions.readline()):
        print(answer(line), flush=True)
