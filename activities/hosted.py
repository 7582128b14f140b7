"""Whose settings.toml an activity is about: that of a worker's only image, or of the image that asks.

Which image asks is known by the workflow that gives the order, and what an order says names no folder.
"""

from contextlib import suppress
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from configuration import InvalidSettings
from configuration.reading import SettingsUnreadable, load_settings
from messages.names import image_of


class Hosted:
    """The settings files of the images that one worker hosts, by image id. Any thread may ask."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}

    def add(self, image_id: str, file: Path) -> None:
        self._files[image_id] = file

    def remove(self, image_id: str) -> None:
        self._files.pop(image_id, None)

    def get(self, image_id: str) -> Path | None:
        return self._files.get(image_id)

    def file_of_asking(self) -> Path:
        """The file of the image whose workflow has ordered the activity that runs.

        Fails with NotHosted, to be tried again: the folder may come, or another worker may have it.
        """
        image_id = asking_image()
        file = self.get(image_id)
        if file is None:
            raise _not_hosted(f"no folder of this worker has a settings.toml of {image_id}; put it there")
        # Somebody may have put another's file there since the worker looked. A broken one tells that itself.
        with suppress(InvalidSettings, SettingsUnreadable):
            if (other := load_settings(file).system.image_id) != image_id:
                raise _not_hosted(f"{file} is the file of {other} by now and not of {image_id}; set it back")
        return file


Files = Path | Hosted
"""The settings file of a worker's only image, which serves whoever asks, or those of many."""


def file_of_asking(files: Files) -> Path:
    """The settings file that an activity is about. Fails with NotHosted."""
    return files.file_of_asking() if isinstance(files, Hosted) else files


def asking_image() -> str:
    """The image whose workflow has ordered the activity that runs."""
    return image_of(activity.info().workflow_id or "")


def _not_hosted(sentence: str) -> ApplicationError:
    return ApplicationError(sentence, type="NotHosted")
