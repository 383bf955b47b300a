"""Who did something, as entries of the log have it: ``Name <email>`` as in Git, or a name alone.

Two are the same person where their email is the same, or the name where one of them says no
email; upper and lower case of ASCII letters do not count, in every clone alike.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

from artifactvc.errors import BadName

_WHOLE: Final = re.compile(r"(?P<name>[^<>]*)<(?P<email>[^<>]*)>\s*")
_LONGEST: Final = 200  # characters, of either part


class Identity(NamedTuple):
    """A name, an email, or both; what is not said is empty."""

    name: str
    email: str = ""

    def __str__(self) -> str:
        if not self.email:
            return self.name
        return f"{self.name} <{self.email}>" if self.name else self.email

    def is_named(self, text: str) -> bool:
        """Whether *text*, an identity that somebody wrote, means this one."""
        wanted = parse_identity(text)
        if wanted.email:
            return _folded(wanted.email) in (_folded(self.email), _folded(self.name))
        return _folded(wanted.name) in (_folded(self.name), _folded(self.email))


def parse_identity(text: str) -> Identity:
    """The parts of ``Name <email>``; any other text is a name."""
    match = _WHOLE.fullmatch(text)
    if match is None or not match["email"].strip():
        return Identity(text.strip())
    return Identity(match["name"].strip(), match["email"].strip())


def _folded(text: str) -> bytes:
    """*text* for comparing: bytes, whose lower case is that of ASCII letters whatever the Python."""
    return text.encode("utf-8", "surrogatepass").lower()


def check_name(text: str) -> str:
    """Return *text* if a user may be called so, else raise BadName."""
    if not text.strip() or _unfit(text):
        raise BadName(
            f"bad user name '{text[:80]}'",
            hint="use 1 to 200 characters, not only spaces, without '<', '>' and control characters",
        )
    return text


def check_email(text: str) -> str:
    """Return *text* if it can be an email, else raise BadName."""
    if "@" not in text or " " in text or _unfit(text):
        raise BadName(f"bad email '{text[:80]}'", hint="write it as in 'ada@example.org'")
    return text


def check_identity(text: str) -> Identity:
    """The parts of *text*: ``Name <email>``, an email or a name; BadName if it is none of these."""
    who = parse_identity(text)
    if who.name or not who.email:
        check_name(who.name)
    if who.email:
        check_email(who.email)
    return who


def _unfit(text: str) -> bool:
    bad = any(char in "<>" or unicodedata.category(char) in ("Cc", "Cs") for char in text)
    return bad or len(text) > _LONGEST
