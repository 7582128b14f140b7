"""What the page tells of the cost: tokens and seconds, as far as records tell."""

from collections.abc import Mapping

from desk.plots.effects import MOST_ROWS, amounts
from desk.plots.pictures import count
from desk.report.figures import Figures, grid
from desk.report.lived import Argument, Life
from desk.report.markup import Html, facts, paragraph, section, table
from messages.loops import ProposalView

TASKS = ["models", "tasks", "tokens read", "tokens written", "seconds"]
CALLS = ["persona", "model", "calls", "tokens read", "tokens written", "seconds"]
TRIALS = ["loop", "replays", "seconds of replays", "tokens of candidates, replays and judge"]


def the_cost(of: Life, figures: Figures) -> Html:
    """Of tasks by the models that answered, of calls by persona, of trials by loop."""
    drawn, tables = [], []
    if by_models := _by_models(of):
        tables.append(table("Tasks, by the models that answered", TASKS, by_models))
    if of.spent:
        told = f"Calls of the latest {count(of.spent_of, 'task')}, without those that failed"
        tables.append(table(told, CALLS, of.spent))
        tokens = {f"{each.persona} · {each.model}": each.tokens_in + each.tokens_out for each in of.spent}
        most = [*tokens][:MOST_ROWS]
        drawn.append(_amounts(figures, "Tokens by persona and model", f"{told}.", most, tokens))
    if tried := {loop_id: view for loop_id, view in of.loops.items() if view.trial_tokens or view.rounds}:
        tables.append(table("Trials", TRIALS, (_trials(of, view) for view in tried.values())))
        tokens = {of.name_of(loop_id): view.trial_tokens for loop_id, view in tried.items()}
        told = f"What looking for changes took: {sum(tokens.values()):,} tokens in all."
        drawn.append(_amounts(figures, "Tokens of trials", told, [*tokens][-MOST_ROWS:], tokens))
    if not tables:
        return section("cost", "Cost", paragraph("Nothing was spent that records tell of."))
    return section("cost", "Cost", *([grid(*drawn)] if drawn else []), *tables, facts(_counted(of)))


def _amounts(figures: Figures, title: str, told: str, names: list[str], tokens: Mapping[str, int]) -> Html:
    """Those that have room, and a word on how many they are of all."""
    if len(names) < len(tokens):
        told += f" {len(names)} of {len(tokens)} are drawn."
    return figures(amounts(title, told, "tokens", {name: tokens[name] for name in names}))


def _by_models(of: Life) -> list[list[object]]:
    told: dict[str, list[Argument]] = {}
    for argument in of.arguments:
        if argument.tokens is not None:
            told.setdefault(" + ".join(argument.models) or "not on record", []).append(argument)
    return [
        [
            models,
            len(arguments),
            sum(each.tokens[0] for each in arguments if each.tokens),
            sum(each.tokens[1] for each in arguments if each.tokens),
            sum(each.seconds for each in arguments),
        ]
        for models, arguments in told.items()
    ]


def _trials(of: Life, view: ProposalView) -> list[object]:
    replays = [replay for tried in view.rounds for replay in tried.argued]
    return [
        of.name_of(view.loop_id),
        len(replays),
        sum((replay.seconds for replay in replays), 0.0),
        view.trial_tokens,
    ]


def _counted(of: Life) -> list[tuple[str, str]]:
    """What the image itself has counted, whatever the server still has."""
    tallies = of.state.ledger.tallies
    argued = sum(each.arguments - each.failed for each in tallies)
    tokens = sum(each.tokens for each in tallies)
    return [("by the image's own count", f"{tokens:,} tokens of {count(argued)} that did not fail")]
