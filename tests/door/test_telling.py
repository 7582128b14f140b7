"""What is told of an argument has each word once, whatever happens to the calls of its models."""

from hypothesis import given
from hypothesis import strategies as st

from door.image import View
from door.telling import SAID_ANEW, Told, Words
from messages.calls import Heard
from messages.tasks import Dissonance, Transcript, Turn
from tests.door.conftest import UNHURRIED

MOST_HEARD = 6


def heard(text: str, persona: str = "BRICK") -> Heard:
    """As a heartbeat tells it: the end alone."""
    said = text[-MOST_HEARD:]
    return Heard(persona=persona, said=said, before=len(text) - len(said))


@UNHURRIED
@given(st.text(max_size=30), st.lists(st.integers(0, 30)))
def test_however_much_is_heard_each_time_the_words_come_once(text: str, heard_to: list[int]) -> None:
    words = Words()
    sent = ""
    for end in heard_to:  # shorter than before where another attempt begins
        news = heard(text[:end])
        sent += words.more(news.said, news.before)
    assert text.startswith(sent)
    assert sent + words.rest(text) == text


@UNHURRIED
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.integers(0, 20))
def test_another_attempt_that_says_something_else_is_told_whole(one: str, other: str, end: int) -> None:
    words = Words()
    sent = words.more(one)
    sent += words.more(other[:end])
    rest = words.rest(other)
    if other.startswith(one):
        assert sent + rest == other
    else:
        assert (sent, rest) == (one, SAID_ANEW + other)


def test_a_call_that_is_tried_again_by_another_worker_is_told_in_its_place() -> None:
    told = Told("t")

    def news(transcript: Transcript, heard: Heard | None = None) -> str:
        return "".join(text for _, text in told.news(View(transcript=transcript, heard=heard)))

    planned = Transcript(task_id="t", task="?", plan="Weigh it.")
    assert news(planned, heard("Trees", "ROBIN")).endswith("ALFRED plans:\nWeigh it.\n")  # nobody's turn
    assert news(planned, heard("Trees")) == "\nTurn 1, BRICK:\nTrees"
    assert news(planned, heard("Tr")) == ""
    assert news(planned, heard("Trees giv")) == " giv"
    assert news(planned, heard("Roofs")) == ""
    thesis = planned.model_copy(update={"thesis": "Roofs last."})
    assert news(thesis) == f"{SAID_ANEW}Roofs last.\n"
    assert news(thesis) == ""
    turn = Turn(turn=1, thesis="Roofs last.", antithesis="They burn.", dissonance=Dissonance(missing="X: y"))
    done = Transcript(task_id="t", task="?", plan="Weigh it.", turns=[turn], synthesis="Both.")
    fields = list(told.news(View(transcript=done)))
    assert "".join(text for field, text in fields if field == "reasoning_content") == (
        "\nTurn 1, ROBIN:\nThey burn.\n\nTurn 1, dissonance:\nnot measured (X: y)\n"
    )
    assert fields[-1] == ("content", "Both.")
