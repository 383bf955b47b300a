"""Who did something, as text, and which texts mean the same person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.identity import Identity, check_identity, parse_identity
from artifactvc.errors import BadName

NAMES = st.text(
    st.characters(exclude_characters="<>", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20
).filter(lambda text: text == text.strip() and not text.isspace())
EMAILS = st.from_regex(r"[a-z0-9.]{1,8}@[a-z]{1,8}", fullmatch=True)


@given(NAMES, EMAILS | st.just(""))
def test_as_text_and_back(name, email):
    """Name and email come out of what is written of them, and pass as an identity."""
    who = Identity(name, email)
    assert parse_identity(str(who)) == who == check_identity(str(who))


@given(st.text())
def test_any_text_is_somebody(text):
    """Authors of a log from elsewhere are any text; it is told apart from others without an error."""
    who = parse_identity(text)
    assert who.is_named(text) or who.is_named(str(who))


@pytest.mark.parametrize(
    ("author", "written", "same"),
    [
        ("Ada <ada@x>", "Ada <ada@x>", True),
        ("Ada <ada@x>", "ada@x", True),
        ("Ada <ada@x>", "Ada", True),
        ("Ada <ada@x>", "ADA@X", True),
        ("Ada Lovelace <ada@x>", "Ada <ada@x>", True),  # the email decides
        ("Ada <ada@y>", "Ada <ada@x>", False),
        ("Ada", "Ada <ada@x>", False),  # who says no email is not known to have this one
        ("ada@x", "Ada <ada@x>", True),
        ("ada@x", "ada@x", True),
        ("Ada", "ada", True),
        ("Ada", "Ad", False),
        ("Ada <ada@x>", "x", False),
        ("Ä", "ä", False),  # only ASCII is folded: what other letters are depends on the Python
        ("<ada@x>", "ada@x", True),
        ("Ada <>", "Ada <>", True),
    ],
)
def test_who_is_meant(author, written, same):
    """The email decides where both say one, else the name."""
    assert parse_identity(author).is_named(written) is same


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb", "a < b", "Ada <ada>", "Ada <a@b> x", "<ada @x>", "x" * 201, "a\udcff"]
)
def test_what_is_nobody(text):
    """Text that could not stand in a log beside others is refused."""
    with pytest.raises(BadName):
        check_identity(text)
