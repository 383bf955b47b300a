"""What a push would send, file by file and byte by byte, without sending anything.

The remote's log and its indexes are read, as by a fetch; nothing else is asked of it, and
nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Mapping

from artifactvc.core.model import Digest
from artifactvc.core.results import Pushed, Sending
from artifactvc.ops.complete import batches
from artifactvc.ops.push_plan import Plan
from artifactvc.ops.sending import lacking_by_root
from artifactvc.ops.session import Session
from artifactvc.storage.outgoing import plan_shipment
from artifactvc.storage.places import Location
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_index import Place
from artifactvc.util.text import format_size

NEW, CONDEMNED = "new there", "its copy there is condemned"


def describe(session: Session, remote: Remote, plan: Plan, stored: dict[Digest, Place], entries: int) -> Pushed:
    """The result of a push that was only planned; *stored* is what an earlier push has sent already."""
    labels = dict(zip((root for root, _ in plan.roots), plan.versions, strict=False))
    sending: list[Sending] = []
    wanted: dict[Digest, int] = {}
    for root, found in lacking_by_root(session, remote, plan, stored):
        fresh = {digest: size for digest, size in found.items() if digest not in wanted}
        wanted |= fresh
        sending += _reasons(session, remote, labels.get(root or "", ""), fresh)
    here: set[Digest] = set()
    for batch in batches(wanted):
        here |= session.avc.store.has(batch)
    sizes = plan_shipment(session.avc.store, [digest for digest in wanted if digest in here]).sizes
    elsewhere = [digest for digest in wanted if digest not in here]
    total = sum(sizes) + sum(wanted[digest] for digest in elsewhere)
    requests = len(sizes) + entries + bool(wanted)
    lines = [f"would push {version}" for version in plan.versions]
    for one in sending:
        what = f"for {one.version}" if one.version else "for descriptions, metadata and runs"
        lines.append(f"  {_count(one.objects, 'object')} ({format_size(one.bytes)}) {what}: {one.reason}")
    if elsewhere:
        lines.append(f"  {len(elsewhere)} of them are not here: they would be fetched from where they are first")
    lines.append(
        f"would write {_count(len(plan.records), 'record')} and send {_count(len(wanted), 'object')}"
        f" ({format_size(total)}) in {_count(len(sizes), 'file')}: {_count(requests, 'request')}"
    )
    return Pushed(
        remote.name, None, len(plan.records), tuple(plan.versions), len(wanted), total, len(sizes), (), True,
        tuple(lines), requests, tuple(sending),
    )  # fmt: skip


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _reasons(session: Session, remote: Remote, label: str, found: Mapping[Digest, int]) -> list[Sending]:
    """One line for each reason why objects are sent for a version."""
    condemned: set[Digest] = set()
    for batch in batches(found):
        condemned |= remote.locate_condemned(batch).keys()
    out = []
    for reason, digests in (
        (NEW, [digest for digest in found if digest not in condemned]),
        (CONDEMNED, [digest for digest in found if digest in condemned]),
    ):
        if digests:
            places: dict[Digest, Location] = {}
            for batch in batches(digests):
                places |= session.avc.store.places.locate(batch)
            size = sum(places[digest].stored if digest in places else found[digest] for digest in digests)
            out.append(Sending(label, len(digests), size, reason))
    return out
