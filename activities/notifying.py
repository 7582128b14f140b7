"""Telling a person that something waits for them: by a command or an address of [governance] notify."""

import subprocess
from pathlib import Path

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.hosted import Files, file_of_asking
from activities.settings import reported
from configuration.reading import load_settings
from configuration.sections import is_address
from messages.common import excerpt
from messages.notices import Notice, Notified
from messages.visible import visible

WITHIN_SECONDS = 20


class Notifier:
    """The activity beside the settings file of whoever asks. It blocks: run it in a thread pool."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @activity.defn
    def notify_person(self, notice: Notice) -> Notified:
        """Tell them, as the file says now. Fails with NotNotified, and as `read_settings` does."""
        with reported():
            settings = file_of_asking(self._files)
            words = load_settings(settings).governance.notify
        if not words:
            return Notified()
        if is_address(words[0]):
            _post(words[0], notice)
            return Notified(by="a web address")
        _run(words, notice, settings.absolute().parent)
        return Notified(by="a command")


def _post(address: str, notice: Notice) -> None:
    """POST the notice as JSON. The address may hold a secret: nothing of it is told."""
    body = notice.model_dump(mode="json") | {"text": visible(str(notice))}
    try:
        answer = httpx.post(address, json=body, timeout=WITHIN_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _failed(f"the address of [governance] notify did not answer ({type(error).__name__})") from None
    if not answer.is_success:
        raise _failed(f"the address of [governance] notify answered with HTTP {answer.status_code}")


def _run(words: list[str], notice: Notice, folder: Path) -> None:
    """Run the command without a shell, with the sentence as its last argument and the notice on its stdin."""
    program = f"{words[0]} of [governance] notify"
    try:
        ended = subprocess.run(
            [*words, visible(str(notice))],
            input=notice.model_dump_json().encode(),
            capture_output=True,
            cwd=folder,
            timeout=WITHIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(f"{program} was not done after {WITHIN_SECONDS} s") from None
    except (OSError, ValueError) as error:
        raise _failed(f"{program} cannot be run ({error})") from None
    if ended.returncode:
        said = excerpt(ended.stderr.decode(errors="replace"), 200)
        raise _failed(f"{program} ended with code {ended.returncode}{f' ({said})' if said else ''}")


def _failed(sentence: str) -> ApplicationError:
    return ApplicationError(sentence, type="NotNotified")
