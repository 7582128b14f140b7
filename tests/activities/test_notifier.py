"""A person is told by a command or at an address, in computed words, and what fails says why."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notifying import Notifier
from messages.loops import Change
from messages.notices import Notice
from testbed.world import shipped_settings

NOTICE = Notice(
    image_id="living-image",
    loop_id="living-image/loop/3",
    changes=[Change(key="models.robin", old="a", new="b\x1b[31m")],
    expected="gain .1",
    urgent=True,
)
TOLD = (
    "URGENT, a change does harm: living-image/loop/3 waits for you: models.robin a -> b\ufffd[31m (gain .1). "
    "python starter.py show living-image/loop/3"
)
KEEP = "import sys, pathlib; pathlib.Path('told').write_text(sys.argv[-1] + '\\n' + sys.stdin.read())"


def notify(folder: Path, *words: str) -> str:
    """Tell a person by these words of settings.toml."""
    file = shipped_settings(folder)
    file.write_text(file.read_text().replace("notify = []", f"notify = {json.dumps(words)}"))
    return ActivityEnvironment().run(Notifier(file).notify_person, NOTICE).by


@pytest.fixture
def posted() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes what is posted to it at /hook, and its address."""
    taken: list[Any] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if self.path == "/hook" else 500)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


def test_a_command_has_the_sentence_as_its_last_word_and_all_of_it_on_stdin(tmp_path: Path) -> None:
    assert notify(tmp_path, sys.executable, "-c", KEEP, "$HOME `id`") == "a command"
    sentence, told = (tmp_path / "told").read_text().split("\n", 1)
    assert sentence == TOLD
    assert Notice.model_validate_json(told) == NOTICE


def test_json_is_posted_to_an_address(tmp_path: Path, posted: tuple[str, list[Any]]) -> None:
    address, taken = posted
    assert notify(tmp_path, f"{address}/hook") == "a web address"
    assert taken == [NOTICE.model_dump(mode="json") | {"text": TOLD}]


def test_where_no_way_is_named_nothing_is_told(tmp_path: Path) -> None:
    assert notify(tmp_path) == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no bus')"], "ended with code 1 (no bus)"),
        (["no-such-program"], "no-such-program of [governance] notify cannot be run"),
        (["http://127.0.0.1:1/secret"], "the address of [governance] notify did not answer (ConnectError)"),
        (["http://127.0.0.1:99999/secret"], "did not answer"),
    ],
)
def test_what_fails_says_why_and_no_secret(tmp_path: Path, words: list[str], reason: str) -> None:
    with pytest.raises(ApplicationError) as failure:
        notify(tmp_path, *words)
    assert failure.value.type == "NotNotified"
    assert reason in failure.value.message
    assert "secret" not in failure.value.message


def test_an_address_that_answers_with_an_error_has_not_told(
    tmp_path: Path, posted: tuple[str, list[Any]]
) -> None:
    with pytest.raises(ApplicationError, match="answered with HTTP 500"):
        notify(tmp_path, f"{posted[0]}/elsewhere")


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="an address stands alone") as failure:
        notify(tmp_path, "https://example.org/secret", "--loud")
    assert "secret" not in failure.value.message
