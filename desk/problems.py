"""Why a command cannot do what it was asked; the exit code says which kind of "cannot"."""

from typing import TYPE_CHECKING

from connection.problems import Problem, Refused, Unknown

if TYPE_CHECKING:
    from messages.loops import ProposalView

DONE, NO, CANNOT, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = (
    f"Exit codes: {DONE} done; {NO} the answer is no (the task failed, the image refused, a proposal is "
    f"stale, has expired or is not there); {CANNOT} it cannot be done (no server, no image, "
    f"no worker answers, bad input); {INTERRUPTED} interrupted with Ctrl-C."
)


class Interrupted(Problem):
    """The person pressed Ctrl-C while something goes on that is worth a word."""


def exit_code(problem: Problem) -> int:
    return {Refused: NO, Interrupted: INTERRUPTED}.get(type(problem), CANNOT)


def waits_because(view: "ProposalView") -> str:
    return (
        f"waits, because something is in the way: {view.obstacle}. It tries again by itself and goes on when "
        f"that is mended. See: python starter.py show {view.loop_id}"
    )


def no_task(image_id: str, task_id: str) -> Unknown:
    return Unknown(f"{image_id} has no task {task_id}. See: python starter.py tasks")
