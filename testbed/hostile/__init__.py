"""What anybody hostile might send, type or write, and what must hold whatever it is.

Each module has a kind of it: a strategy for cases, and a function that tries one and raises AssertionError.
Tests try a few of each, `python -m benchmarks.hostile` ten thousand and more. The same cases come every time.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

Case = TypeVar("Case")


class Tried(NamedTuple):
    """How many cases of a kind were tried, and what went wrong with which."""

    kind: str
    cases: int
    failures: list[str]


def drawn(strategy: SearchStrategy[Case], count: int) -> list[Case]:
    """So many cases of a strategy, the same in every run."""
    found: list[Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return found


def try_each(kind: str, cases: Sequence[Case], attempt: Callable[[Case], object]) -> Tried:
    failures = []
    for case in cases:
        try:
            attempt(case)
        except Exception as error:
            failures.append(_told(case, error))
    return Tried(kind, len(cases), failures)


async def try_each_of(
    kind: str, cases: Sequence[Case], attempt: Callable[[Case], Awaitable[object]]
) -> Tried:
    """One after another. `asyncio.gather` over parts of the cases has several at once."""
    failures = []
    for case in cases:
        try:
            await attempt(case)
        except Exception as error:
            failures.append(_told(case, error))
    return Tried(kind, len(cases), failures)


def together(tried: Sequence[Tried]) -> Tried:
    """Parts of one kind."""
    failures = [failure for part in tried for failure in part.failures]
    return Tried(tried[0].kind, sum(part.cases for part in tried), failures)


def _told(case: object, error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:600]}\n  with {repr(case)[:600]}"
