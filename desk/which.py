"""Which settings file a command goes by, and which image it speaks to."""

from pathlib import Path

from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable, load_settings, read_values
from connection.places import SETTINGS
from connection.problems import Problem

# Where there is no settings file at all, as on a machine that only talks to a server elsewhere.
DEFAULT_IMAGE = "living-image"


def read_settings(settings: Path | None) -> tuple[Path, Settings]:
    """The settings file that is named, or that of this folder, with its values. Raises Problem."""
    path = settings or SETTINGS
    try:
        return path.absolute(), load_settings(path)
    except (InvalidSettings, SettingsUnreadable) as error:
        raise Problem(str(error)) from None


def image_named_in(settings: Path | None) -> str:
    """The [system] image_id of a settings file, even of one that the image refuses: it can be asked why."""
    path = settings or SETTINGS
    try:
        values = read_values(path)
    except (InvalidSettings, SettingsUnreadable) as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise Problem(f"{error}. Or name the image: --image ID") from None
        if settings is None:
            return DEFAULT_IMAGE
        raise Problem(f"There is no file {path}. Correct --settings, or name the image: --image ID") from None
    match values:
        case {"system": {"image_id": str(name)}}:
            return name
    raise Problem(f"{path} has no [system] image_id. Add it, or name the image: --image ID")
