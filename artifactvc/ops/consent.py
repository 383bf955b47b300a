"""References that came from elsewhere are followed only where somebody here allowed it (protocol H4).

Allowed are the places of setting ``refs.allow``, of this repository and of the user's own file
together, and those that references recorded in this repository lead to (``note_adopted``): who
added them here has seen them. Whoever made a version elsewhere has not been asked anything here.
"""

from __future__ import annotations

from collections.abc import Iterable

from artifactvc.core.consent import Allowed, parse_allowed, place_of, proposal
from artifactvc.core.references import Address, parse_address
from artifactvc.errors import BadValue, Corrupt, ReferenceRefused
from artifactvc.ops.session import Session
from artifactvc.storage.adopted import Adopted
from artifactvc.storage.settings import get_dotted
from artifactvc.storage.sources import Source, open_source
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.text import escape


def check_consent(session: Session, uris: Iterable[str]) -> None:
    """Return if all of *uris* lead to places that are allowed here; each is an address or a place.

    Raises ReferenceRefused, which names the first place that is not and the command that
    allows all of them, before anything is asked of any; BadValue for what is no address.
    """
    allowed, judged, refused = allowed_here(session), set[str](), dict[str, str]()
    for uri in uris:
        address = parse_address(uri)
        place = place_of(address)
        if place in judged or address.kind == "avc":
            continue
        if address.kind != "file":  # of files each is a place of its own, and there may be a million
            judged.add(place)
        if not allowed.covers(place):
            refused.setdefault(place.rpartition("/")[0] if address.kind == "file" else place, place)
    if refused:
        raise _refused(session, list(refused.values()))


def _refused(session: Session, places: list[str]) -> ReferenceRefused:
    more = f" and {len(places) - 1:,} other places" if len(places) > 2 else " and one other place"
    return ReferenceRefused(
        f"references lead to '{escape(places[0])}'{more if len(places) > 1 else ''}, which nobody here allowed",
        hint=f"if you trust whoever made this version to send you there, run: {proposal(_setting(session), places)}",
    )


def note_adopted(session: Session, uri: str) -> None:
    """The user of this repository records a reference to *uri* here: its place counts as allowed here from now on.

    To be called before the draft that holds it is written: killed in between, a place is
    allowed that its user meant to refer to, and no reference is there that cannot be followed.
    """
    adopted, place = _adopted(session), place_of(parse_address(uri))
    if not Allowed(adopted.places()).names(place):
        adopted.add(place)


def open_allowed(session: Session, address: Address, *, adopting: bool = False) -> Source:
    """The source of *address*, which is allowed; with *adopting* its user named it just now.

    The one way in which a source should be opened: it knows which servers may have private addresses.
    """
    place = place_of(address)
    if not adopting:
        check_consent(session, [place])
    named = allowed_here(session).named | ({place} if adopting else set())
    return open_source(address, session.limits.over(RemoteOptions(named=named)))


def allowed_here(session: Session) -> Allowed:
    """All that is allowed in this repository; Corrupt if a setting that was edited by hand names what is no place."""
    try:
        set_here = parse_allowed(f"{_setting(session)},{session.allowed_globally}")
    except BadValue as error:
        raise Corrupt(f"setting refs.allow: {error.message}", hint=error.hint) from error
    return set_here | Allowed(_adopted(session).places())


def _setting(session: Session) -> str:
    return str(get_dotted(session.avc.config, "refs.allow") or "")


def _adopted(session: Session) -> Adopted:
    return Adopted(session.avc.root / "adopted", session.avc.root / "locks" / "adopted")
