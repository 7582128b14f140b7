"""Which version of this project runs here; workers tell it to the server."""

import tomllib

from connection.places import PROJECT

NAME = "living-image"
VERSION: str = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
