"""python -m optimizer: answers one OptimizerRequest, as JSON on stdin, with an OptimizerAnswer on stdout."""

import sys

from messages.loops import OptimizerRequest
from optimizer.consider import consider

if __name__ == "__main__":
    request = OptimizerRequest.model_validate_json(sys.stdin.buffer.read())
    sys.stdout.buffer.write(consider(request).model_dump_json().encode())
