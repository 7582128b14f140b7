"""A rule, not an optimizer: more turns where arguments run out of them, fewer where nobody uses them.

It looks at one thing, how arguments ended under the present settings, and changes one key, `max_turns`, by
one step. It never raises the convergence threshold and never takes a turn that any argument used, so it
cannot lower the figure for dissonance by ending arguments sooner.
"""

from statistics import fmean

from configuration import TUNABLES
from messages.loops import Change, OptimizerAnswer, OptimizerRequest, Proposal
from messages.tasks import PerformanceLog

KEY = "autopoiesis.max_turns"
SOURCE = "rule: turn budget"

# Below half unresolved, the budget does its work for most arguments, and one turn more costs all of them.
UNRESOLVED_SHARE_TO_RAISE = 0.5
# Two turns that nobody used: one may go and a spare one stays, so that lowering never causes raising at once.
SPARE_TURNS_TO_LOWER = 2
# Fewer arguments than this say nothing about a share of them.
FEWEST_ARGUMENTS = 4


def propose(request: OptimizerRequest) -> OptimizerAnswer:
    """One step more or less of `max_turns`, or the reason why not."""
    present = [log for log in request.window if log.settings_digest == request.settings_digest]
    argued = [log for log in present if log.outcome != "failed"]
    if len(argued) < FEWEST_ARGUMENTS:
        return OptimizerAnswer(
            reason=f"{len(argued)} finished arguments under the present settings "
            f"({len(present) - len(argued)} failed); at least {FEWEST_ARGUMENTS} are needed"
        )
    max_turns = request.settings.autopoiesis.max_turns
    unresolved = sum(log.outcome == "max_turns" for log in argued)
    longest = max(log.turn_count for log in argued)
    bounds = TUNABLES[KEY]
    if unresolved / len(argued) >= UNRESOLVED_SHARE_TO_RAISE:
        if max_turns >= bounds.high:
            return OptimizerAnswer(
                reason=f"{unresolved} of {len(argued)} arguments ran out of turns, but max_turns = "
                f"{max_turns} is at its upper bound; other models or prompts may help"
            )
        return OptimizerAnswer(
            proposal=_proposal(
                argued,
                max_turns,
                max_turns + int(bounds.step),
                f"{unresolved} of {len(argued)} arguments ran out of turns at max_turns = {max_turns}.",
                "Arguments get one more turn to agree in; those that still do not agree cost one turn more.",
            )
        )
    if unresolved == 0 and max_turns - longest >= SPARE_TURNS_TO_LOWER and max_turns > bounds.low:
        return OptimizerAnswer(
            proposal=_proposal(
                argued,
                max_turns,
                max_turns - int(bounds.step),
                f"All {len(argued)} arguments agreed within {longest} of {max_turns} turns.",
                "None of these arguments would have ended differently; a future one that does not agree "
                "costs one turn less.",
            )
        )
    return OptimizerAnswer(
        reason=f"{unresolved} of {len(argued)} arguments ran out of turns and the longest took {longest} of "
        f"{max_turns}: the budget of turns fits"
    )


def _proposal(argued: list[PerformanceLog], old: int, new: int, why: str, effect: str) -> Proposal:
    measured = [log.final_dissonance for log in argued if log.final_dissonance is not None]
    return Proposal(
        changes=[Change(key=KEY, old=old, new=new)],
        justification=why,
        expected_effect=effect,
        evidence={
            "arguments": len(argued),
            "ran out of turns": sum(log.outcome == "max_turns" for log in argued),
            "longest, in turns": max(log.turn_count for log in argued),
            "mean turns": round(fmean(log.turn_count for log in argued), 2),
            "mean final dissonance": round(fmean(measured), 3) if measured else None,
            "without a dissonance": len(argued) - len(measured),
        },
        source=SOURCE,
    )
