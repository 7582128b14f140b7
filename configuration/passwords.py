"""Passwords in addresses: none is told to anybody, and none stands in a setting, which histories carry."""

import re

WHERE_PLACES_LOOK = "fsspec finds it in its own configuration, such as FSSPEC_SFTP_PASSWORD"
_SIGN_IN = re.compile(r"//[^/\s]*@")
_PASSWORD = re.compile(r"//[^/\s]*:[^/\s]*@")


def masked(text: str) -> str:
    """A text in which no address says any more who asks there, and with which password."""
    return _SIGN_IN.sub("//…@", text)


def has_password(address: str) -> bool:
    return bool(_PASSWORD.search(address))
