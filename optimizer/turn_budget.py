"""A rule, not an optimizer: more turns where arguments run out of them, fewer where nobody uses them.

It looks at one thing, how arguments ended under the present settings, and changes one key, `max_turns`, by
one step. An argument whose last dissonance is missing is no evidence: nobody knows whether it ran out of
turns or had long been settled. The rule never raises the convergence threshold and never takes a turn that
any argument used, so it cannot lower the figure for dissonance by ending arguments sooner.
"""

from statistics import fmean

from configuration import Tunable
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
    finished = [log for log in present if log.outcome != "failed"]
    argued = _measured(finished)
    if len(argued) < FEWEST_ARGUMENTS:
        return OptimizerAnswer(reason=_too_few(len(argued), len(finished), len(present)))
    max_turns = request.settings.autopoiesis.max_turns
    unresolved = sum(log.outcome == "max_turns" for log in argued)
    # Of all: whether or not they were measured, no turn is taken that one of them used.
    longest = max(log.turn_count for log in finished)
    bounds: Tunable = request.settings.tunables()[KEY]
    if unresolved / len(argued) >= UNRESOLVED_SHARE_TO_RAISE:
        if max_turns >= bounds.high:
            return OptimizerAnswer(
                reason=f"{unresolved} of {len(argued)} arguments ran out of turns, but max_turns = "
                f"{max_turns} is at its upper bound; other models or prompts may help"
            )
        return OptimizerAnswer(
            proposal=_proposal(
                finished,
                max_turns,
                max_turns + int(bounds.step),
                f"{unresolved} of {len(argued)} arguments ran out of turns at max_turns = {max_turns}.",
                "Arguments get one more turn to agree in; those that still do not agree cost one turn more.",
            )
        )
    if unresolved == 0 and max_turns - longest >= SPARE_TURNS_TO_LOWER and max_turns > bounds.low:
        return OptimizerAnswer(
            proposal=_proposal(
                finished,
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


def _measured(finished: list[PerformanceLog]) -> list[PerformanceLog]:
    return [log for log in finished if log.final_dissonance is not None]


def _too_few(argued: int, finished: int, present: int) -> str:
    counted = f"{finished} finished arguments under the present settings ({present - finished} failed)"
    if finished < FEWEST_ARGUMENTS:
        return f"{counted}; at least {FEWEST_ARGUMENTS} are needed"
    return (
        f"{counted}, {finished - argued} of them without a dissonance at the end; at least "
        f"{FEWEST_ARGUMENTS} with one are needed: the transcript of a task says why it is missing, and a "
        "model for ROBIN that does not think and keeps to JSON schemas gives one"
    )


def _proposal(finished: list[PerformanceLog], old: int, new: int, why: str, effect: str) -> Proposal:
    argued = _measured(finished)
    return Proposal(
        changes=[Change(key=KEY, old=old, new=new)],
        justification=why,
        expected_effect=effect,
        evidence={
            "arguments": len(argued),
            "ran out of turns": sum(log.outcome == "max_turns" for log in argued),
            "longest, in turns": max(log.turn_count for log in argued),
            "mean turns": round(fmean(log.turn_count for log in argued), 2),
            "mean final dissonance": round(fmean(log.final_dissonance or 0.0 for log in argued), 3),
            "without a dissonance": len(finished) - len(argued),
        },
        source=SOURCE,
    )
