"""A remote's ``avc.json``, log and checkpoints, read there from entry 0 and held against what is kept here.

Which of two entries is right the chain says: the one that the entry behind it names. Where
there is none behind, the one kept here was checked when it was read; what stands there is
damage if it is no entry that continues the chain, or differs from the kept one in a single
field (a push of somebody else has another operation, time and more). Else it is another
entry: the log was rewound and went on, and nothing is mended, for nobody can tell here
which of the two is to be believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from artifactvc.core.entries import MAX_BYTES, LogEntry, decode_entry, entry_digest
from artifactvc.core.model import Digest
from artifactvc.errors import BadLogEntry, BrokenChain, Corrupt, NewerFormat
from artifactvc.ops.findings import Check, Finding, read_files, replace_file
from artifactvc.storage.checkpoints import MAX_CHECKPOINT, SIZES, Span
from artifactvc.storage.kept import keep_description, kept_description
from artifactvc.storage.log import entry_name
from artifactvc.storage.remote import read_description, require_features
from artifactvc.util.files import write_atomic

_AT_ONCE: Final = 128
_ENTRY: Final = re.compile(r"log/([0-9]{20})\.json")
_CHECKPOINT: Final = re.compile(rf"log/checkpoint/({'|'.join(map(str, SIZES))})/([0-9]{{20}})")
_KEPT: Final = "the copy kept here of entry"


# ---- avc.json ---------------------------------------------------------------------------------------


def check_description(check: Check) -> None:
    """``avc.json`` is there and speaks of this remote; BrokenChain if it is another one."""
    kept, held = check.kept, kept_description(check.kept.directory)
    try:
        body = read_description(check.transport)
    except (Corrupt, NewerFormat) as error:
        if isinstance(error, NewerFormat) and not (_asks_nothing(check) and _alike(_standing(check), held or b"")):
            raise
        finding = check.find_error(error, "avc.json")
        _mend_description(check, finding, held)
        return
    if body is None:
        finding = check.find("RemoteMissing", "avc.json", f"'avc.json' is missing at '{kept.url}'")
        _mend_description(check, finding, held)
        return
    if sum(a != b for a, b in zip(body["id"], kept.id, strict=True)) > (1 if held else 0):  # one flipped is damage
        raise BrokenChain(
            f"remote '{kept.name}' at '{kept.url}' is not the one that was added",
            hint="it was wiped or replaced; run 'avc remote remove' and 'avc remote add' if that was meant",
        )
    require_features(body, "check", kept.url)
    if check.repair:
        require_features(body, "write", kept.url)
    if held is None:
        keep_description(kept.directory, body, kept.avc.tmp)
    elif _standing(check) != held:
        finding = check.find("Corrupt", "avc.json", "'avc.json' is not the one that was read before")
        if _asks_nothing(check):
            _mend_description(check, finding, held)


def _asks_nothing(check: Check) -> bool:
    """Whether what stands there names no feature: one that does may be a newer version's, and stays."""
    try:
        body = json.loads(_standing(check))
    except (ValueError, RecursionError):
        return True
    features = body.get("features", {}) if isinstance(body, dict) else {}
    return not (isinstance(features, dict) and any(features.values()))


def _standing(check: Check) -> bytes:
    return read_files(check.transport, ["avc.json"], 1 << 16)[0] or b""


def _mend_description(check: Check, finding: Finding, held: bytes | None) -> None:
    if check.repair and held is not None:
        finding.repaired = replace_file(check.transport, "avc.json", held)


# ---- the log ----------------------------------------------------------------------------------------


@dataclass
class _Entries:
    """The entries of the remote, read in lots; each is asked for about once."""

    check: Check
    start: int = 0
    lot: tuple[bytes | None, ...] = ()

    def at(self, n: int) -> bytes | None:
        """Entry *n* as it stands there."""
        if not self.start <= n < self.start + len(self.lot):
            self.start = n
            names = [f"log/{entry_name(i)}" for i in range(n, n + _AT_ONCE)]
            self.lot = tuple(read_files(self.check.transport, names, MAX_BYTES))
        return self.lot[n - self.start]


@dataclass(frozen=True)
class _Verdict:
    """The entry that counts, None if there is none; which side lacks it, and why."""

    data: bytes | None
    fault_there: str = ""
    fault_here: str = ""
    forked: bool = False


def check_log(check: Check) -> int:
    """Read the log, let it take effect in the scratch index, mend it; the number of the last entry that counts."""
    kept = check.kept
    listed = check.listing("log") or []
    numbers = [int(match[1]) for file in listed if (match := _ENTRY.fullmatch(file.name))]
    last = max([kept.log.last(), *numbers])
    check.session.progress.start("Reading the log", total=last + 1, unit="entries")
    mend: list[tuple[int, Finding]] = []
    reached = -1
    for n, verdict in _judged(check, last):
        check.session.progress.advance(1)
        if verdict.data is None:
            break
        reached = n
        if verdict.fault_there:
            finding = check.find("BrokenChain", f"entry {n}", f"entry {n} of '{kept.name}' {verdict.fault_there}")
            mend.append((n, finding))
        if verdict.fault_here:
            _mend_kept(check, n, verdict)
    check.session.progress.finish()
    if all(finding.repaired for finding in check.findings if finding.subject.startswith(_KEPT)):
        kept.catch_up()
    for n, finding in mend if check.repair and not check.forked else ():
        finding.repaired = _write_entry(check, n)
    _check_checkpoints(check, [file.name for file in listed], reached)
    return reached


def _judged(check: Check, last: int) -> Iterator[tuple[int, _Verdict]]:
    """Each number with what counts there, in order, until the log ends or cannot be read on."""
    entries, log = _Entries(check), check.kept.log
    before: Digest | None = None
    n = 0
    while True:
        there, here = entries.at(n), log.data(n)
        if there is None and here is None and n > last:
            return
        verdict = _judge(check, entries, n, before)
        if verdict.forked:
            _fork(check, n)
        elif verdict.data is None:
            check.find("BrokenChain", f"entry {n}", f"entry {n} of '{check.kept.name}' {verdict.fault_there}")
        else:
            entry = decode_entry(verdict.data, n)
            before = entry_digest(verdict.data)
            check.scratch.apply([(entry, before)])
            if here is None and entry.before == _digest(log.data(n - 1)):
                check.kept.accept(n, verdict.data)
        yield n, verdict
        if verdict.data is None or verdict.forked:
            return
        n += 1


def _judge(check: Check, entries: _Entries, n: int, before: Digest | None) -> _Verdict:
    log = check.kept.log
    there, here = entries.at(n), log.data(n)
    good_there, good_here = _continues(there, n, before), _continues(here, n, before)
    if good_there and (here is None or here == there):
        return _Verdict(there)
    if good_there and good_here and there and here:
        following = (entries.at(n + 1), log.data(n + 1))
        if any(_names(data, here) for data in following) or check.kept.head() == (n, entry_digest(here)):
            alike = _alike(there, here)
            if alike or _names(entries.at(n + 1), here):
                return _Verdict(here, "is damaged: the chain names another one, which was read before")
        if _names(entries.at(n + 1), there) and _alike(there, here):
            return _Verdict(there, fault_here="is damaged")
        return _Verdict(there, forked=True)
    if good_there:
        return _Verdict(there, fault_here="is damaged")
    fault = "is missing" if there is None else "is damaged" if there else "is empty or too large"
    if good_here:
        return _Verdict(here, fault)
    _raise_newer(there, n)
    more = ": what stands behind it cannot be read" if entries.at(n + 1) is not None else ""
    return _Verdict(None, f"{fault}, and no copy is kept here{more}")


def _digest(data: bytes | None) -> Digest | None:
    return None if data is None else entry_digest(data)


def _continues(data: bytes | None, n: int, before: Digest | None) -> LogEntry | None:
    try:
        entry = decode_entry(data, n) if data else None
    except (BadLogEntry, NewerFormat):
        return None
    return entry if entry is not None and entry.before == before else None


def _raise_newer(data: bytes | None, n: int) -> None:
    """A newer version's entry is no damage: it cannot be judged here."""
    try:
        decode_entry(data or b"", n)
    except BadLogEntry:
        return


def _names(data: bytes | None, entry: bytes) -> bool:
    """Whether the entry in *data* names *entry* as the one before it."""
    try:
        body = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and body.get("before") == entry_digest(entry)


def _alike(one: bytes, two: bytes) -> bool:
    """Whether two JSON objects differ in at most one field, be it in its value or in its name."""
    try:
        a, b = json.loads(one), json.loads(two)
    except (ValueError, RecursionError):
        return False
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return False
    only = (len(a.keys() - b.keys()), len(b.keys() - a.keys()))
    values = sum(a[key] != b[key] for key in a.keys() & b.keys())
    return values <= 1 if only == (0, 0) else values == 0 and max(only) == 1


def _fork(check: Check, n: int) -> None:
    check.forked = True
    check.find(
        "BrokenChain",
        f"entry {n}",
        f"entry {n} of '{check.kept.name}' is not the one that was read before: the log was rewound, and went on",
    )


def _write_entry(check: Check, n: int) -> bool:
    """Write a missing or damaged entry again from the copy kept here; what stands there is replaced whole.

    A missing one is created once: if somebody made another meanwhile, that stays.
    """
    name, data = f"log/{entry_name(n)}", check.kept.log.data(n)
    if data is None:
        return False
    if read_files(check.transport, [name], MAX_BYTES)[0] is None:
        check.transport.create(name, data)
        return read_files(check.transport, [name], MAX_BYTES)[0] == data
    return replace_file(check.transport, name, data)


def _mend_kept(check: Check, n: int, verdict: _Verdict) -> None:
    """The copy kept here is damaged, and what stands there is in the chain."""
    subject = f"{_KEPT} {n}"
    finding = check.find("BrokenChain", subject, f"{subject} of '{check.kept.name}' {verdict.fault_here}")
    if check.repair and verdict.data is not None:
        write_atomic(check.kept.log.directory / entry_name(n), verdict.data, via=check.kept.avc.tmp)
        finding.repaired = True


# ---- checkpoints ----------------------------------------------------------------------------------


def _check_checkpoints(check: Check, names: list[str], reached: int) -> None:
    """Each checkpoint is the exact bytes of its entries (protocol R4); a wrong one is written again."""
    for name in names:
        match = _CHECKPOINT.fullmatch(name)
        if match is None:
            continue
        span = Span(int(match[1]), int(match[2]))
        if span.end > reached + 1:
            check.notes.append(f"checkpoint '{name}' holds entries that cannot be read: it was not checked")
            continue
        wanted = b"".join(check.kept.log.data(n) or b"" for n in range(span.first, span.end))
        if read_files(check.transport, [name], MAX_CHECKPOINT)[0] == wanted:
            continue
        finding = check.find(
            "BadLogEntry", f"checkpoint '{name}'", f"checkpoint '{name}' of '{check.kept.name}' is not its entries"
        )
        if check.repair:
            finding.repaired = replace_file(check.transport, name, wanted)
