"""Reading what a remote's log has behind the last entry known here, in few requests (protocol R2 to R4).

Nothing new is one request. A few new entries are read one, one, two, four at a time; what is
further behind, and a clone, looks for checkpoints, uses the largest that is there, and reads
the entries behind the last of them.

- Checkpoints are never believed against the chain. One is held back until something that
  does not come from it continues it: the next entry, or its own last entry read by itself.
- One that is cut, too large, or does not continue what is here is passed over, and the
  entries of its span are read instead.
- What is kept is kept in order, so a kill leaves a shorter log, never one with a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from artifactvc.core.entries import MAX_BYTES, LogEntry, decode_entry, entry_digest
from artifactvc.core.model import Digest
from artifactvc.errors import BadLogEntry, BrokenChain, Corrupt, NewerFormat
from artifactvc.storage.checkpoints import MAX_CHECKPOINT, SIZES, RemoteLog, Span, span_of, split_entries
from artifactvc.storage.log import entry_name
from artifactvc.storage.transport import Transport

#: Entries asked for at once, one time after the other, before checkpoints are looked for.
_FEW: Final = (1, 2, 4)
#: Checkpoints of the largest size in memory at once.
_WINDOW: Final = 4
#: Bytes of checkpoints that are held back at most before the last is confirmed by itself.
_HELD: Final = 32 << 20

Read = Callable[[Sequence[int]], Sequence[bytes | None]]


def present(count: int, read: Read) -> list[bytes]:
    """Those of *count* files that are there, where each is only if the ones before it are.

    Asks for the first, third, seventh … by itself, halves the distance at the first that is
    missing, and reads what lies between at once: about log2(*count*) are asked for in vain.
    """
    found: dict[int, bytes] = {}
    there, gone, ask = -1, count, 0
    while there + 1 < gone:
        data = read([ask])[0]
        if data is None:
            gone = ask
        else:
            there, found[ask] = ask, data
        ask = 2 * ask + 2 if gone == count and 2 * ask + 3 < count else (there + gone) // 2
    between = [position for position in range(there) if position not in found]
    for position, data in zip(between, read(between) if between else (), strict=True):
        if data is None:  # a storage that shows a later file before an earlier one: as if neither were there yet
            return [found[i] for i in range(position)]
        found[position] = data
    return [found[i] for i in range(there + 1)]


class Tail:
    """One reading of a remote's log from behind *head*, the number and digest of the last entry kept in *log*."""

    def __init__(self, transport: Transport, log: RemoteLog, name: str, head: tuple[int, Digest | None]) -> None:
        self._transport, self._log, self._name = transport, log, name
        self._n, self._digest = self._kept = head  # the last entry read, and the last that was kept
        self._held: list[tuple[Span, bytes]] = []  # checkpoints up to _n that nothing confirms yet
        self._held_bytes = 0
        self._last = b""  # the last entry of those
        self._passed: set[Span] = set()  # not there, or not to be believed
        self._level = len(SIZES) - 1  # which size was used last

    def read(self) -> int:
        """Read to the end of the log, keep what is new; how many entries that is."""
        first = self._n
        if self._entries(1) and (first < 0 or all(self._entries(count) for count in _FEW)):
            while self._further() or not self._confirm():
                pass
        return self._kept[0] - first

    def missing(self) -> list[Span]:
        """Checkpoints that were looked for in vain and can be made now that their last entry has been read."""
        end = self._n + 1

        def counts(span: Span) -> bool:
            larger = next((size for size in reversed(SIZES) if size > span.size), None)
            return span.end <= end and (larger is None or span_of(larger, span.first).end > end)

        return sorted(filter(counts, self._passed), reverse=True)

    # ---- entries by themselves ----------------------------------------------------------------

    def _read_entries(self, numbers: Sequence[int]) -> Sequence[bytes | None]:
        return self._transport.read_many([f"log/{entry_name(n)}" for n in numbers], limit=MAX_BYTES)

    def _entries(self, count: int) -> bool:
        """Read the next *count* entries at once; whether all of them are there."""
        first = self._n + 1
        for data in self._read_entries(range(first, first + count)):
            if data is None:
                return False
            self._take(data)
        return True

    def _take(self, data: bytes) -> bool:
        """Keep the next entry; False if it shows that the checkpoints before it are not to be believed."""
        n = self._n + 1
        entry = read_entry(data, n, self._name)
        if entry.before != self._digest:
            if self._held:
                self._drop_held()
                return False
            raise broken_chain(n, self._name)
        self._keep_held()
        if not self._log.create(n, data) and self._log.data(n) != data:
            raise BrokenChain(f"entry {n} of remote '{self._name}' is not the one that was read before")
        self._n, self._digest = self._kept = n, entry_digest(data)
        return True

    # ---- checkpoints --------------------------------------------------------------------------

    def _further(self) -> bool:
        """Read on by the largest span that is there; False at the end of the log.

        From the size that was used last upwards: where the smallest is missing the log mostly
        ends in its span, so who is a little behind asks for one checkpoint in vain.
        """
        n, best, data = self._n + 1, None, b""
        for size in reversed(SIZES[: self._level + 1]):
            span = span_of(size, n)
            found = self._read_spans([span])[0]
            if found is None:
                break
            best, data = span, found
        if best is not None:
            self._level = SIZES.index(best.size)
            self._run(best, data)
        elif self._level < len(SIZES) - 1:
            self._level += 1
        else:
            count = span_of(SIZES[-1], n).end - n
            datas = present(count, lambda wanted: self._read_entries([n + i for i in wanted]))
            if all(self._take(data) for data in datas):
                return len(datas) == count
        return True

    def _run(self, span: Span, data: bytes) -> None:
        """Take a checkpoint, then those of its size behind it, up to where a larger one may be."""
        if not self._take_span(span, data):
            return
        until = span_of(SIZES[self._level - 1], span.first).end if self._level else span.end + _WINDOW * span.size
        spans = [Span(span.size, first) for first in range(span.end, until, span.size)]
        datas = present(len(spans), lambda wanted: self._read_spans([spans[i] for i in wanted]))
        for following, its_data in zip(spans, datas, strict=False):
            if not self._take_span(following, its_data):
                return

    def _read_spans(self, spans: Sequence[Span]) -> list[bytes | None]:
        """Checkpoints, None for one that is missing or too large; not asked for again in this reading."""
        wanted = [span for span in spans if span not in self._passed]
        try:
            datas = self._transport.read_many([span.name for span in wanted], limit=MAX_CHECKPOINT) if wanted else []
        except Corrupt:  # larger than may be: which of them is not said
            if len(wanted) > 1:
                return [self._read_spans([span])[0] for span in spans]
            datas = [None]
        found = dict(zip(wanted, datas, strict=True))
        self._passed.update(span for span, data in found.items() if data is None)
        return [found.get(span) for span in spans]

    def _take_span(self, span: Span, data: bytes) -> bool:
        """Hold a checkpoint whose entries continue what was read; False if it is passed over."""
        skipped = self._n + 1 - span.first
        try:
            lines = split_entries(data, span)
            digests = [entry_digest(line) for line in lines]
            entries = [decode_entry(line, span.first + i) for i, line in enumerate(lines)]
        except (BadLogEntry, NewerFormat):  # the entries themselves tell whether the log is so
            self._passed.add(span)
            return False
        if any(entries[i].before != digests[i - 1] for i in range(1, span.size)):
            self._passed.add(span)
            return False
        if entries[skipped].before != self._digest:
            if not self._held or self._confirm():
                self._passed.add(span)
            return False
        self._held.append((span, data))
        self._held_bytes += len(data)
        self._n, self._digest, self._last = span.end - 1, digests[-1], lines[-1]
        return self._held_bytes <= _HELD or self._confirm()

    def _confirm(self) -> bool:
        """Hold the last entry of the checkpoints held against that entry by itself; drop them if they differ."""
        if not self._held:
            return True
        if self._read_entries([self._n])[0] != self._last:
            self._drop_held()
            return False
        self._keep_held()
        self._log.create(self._n, self._last)  # by itself too: every command asks for the head
        return True

    def _keep_held(self) -> None:
        for span, data in self._held:
            self._log.keep(span, data)
        self._held, self._held_bytes = [], 0
        self._kept = self._n, self._digest

    def _drop_held(self) -> None:
        self._passed.update(span for span, _ in self._held)
        self._held, self._held_bytes = [], 0
        self._n, self._digest = self._kept


def read_entry(data: bytes, n: int, name: str) -> LogEntry:
    """Entry *n* of remote *name*; BadLogEntry says whose it is."""
    try:
        return decode_entry(data, n)
    except BadLogEntry as error:
        raise BadLogEntry(
            f"remote '{name}': {error.message}", hint=f"run 'avc fsck {name} --repair' in a clone that has read it"
        ) from error


def broken_chain(n: int, name: str) -> BrokenChain:
    """What to say of an entry that does not continue the log."""
    return BrokenChain(
        f"the log of remote '{name}' does not continue what was read before (entry {n})",
        hint="it was restored, wiped or replaced; if that was meant, remove the remote and add it again",
    )
