"""``http://`` and ``https://``: what a web server gives for an address.

The identity is the strongest that the server offers: its ETag, else its Last-Modified, else
none, and then nothing but the length can be checked. A web server has one version of a file,
the one that is there now: it is asked for that version or a refusal (``If-Match``,
``If-Unmodified-Since``), and its own words are held against the target before a byte is given.

Where a connection breaks, the rest is asked for if the validator is a strong one (RFC 9110,
8.8.1); else the file is asked for again from its beginning, and what was given before has to
be the same. So a file that changes meanwhile is an error, never a mixture.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from blake3 import blake3

from artifactvc.core.references import ETAG, MODIFIED, WEAK, Address, Target, is_resumable, parse_address
from artifactvc.errors import ReferenceChanged, ReferenceMissing, RemoteUnavailable, StorageError
from artifactvc.storage.httpclient import HttpClient, NoAnswer
from artifactvc.storage.transport import NO_ANSWER, RemoteOptions
from artifactvc.util.backoff import after_no_answer
from artifactvc.util.text import escape

_GONE: Final = (404, 410)
_NO_HEAD: Final = (400, 403, 405, 501)  # what servers say that answer GET alone; a GET tells whether they meant it
_LONGEST: Final = 512  # characters of a validator; one that is longer identifies nothing here
_LOOKED_AT_AGAIN: Final = 1 << 20  # bytes from which a file that came is looked at once more
_WORDS: Final = {ETAG: "ETag", WEAK: "ETag", MODIFIED: "Last-Modified"}


class _Client(HttpClient):
    """Requests for references: messages name the whole address."""

    def called(self, name: str) -> str:
        return f"'{escape(f'{self.url}/{name}')}'"

    def ask(self, method: str, name: str) -> tuple[int, _Facts | None]:
        """The status of an answer, and what it says of the file: nothing where that is not there."""
        for attempt in count(1):
            try:
                with self.request(name, {}, method) as answer:
                    if answer.status in _GONE or (method == "HEAD" and answer.status in _NO_HEAD):
                        return answer.status, None
                    self.check(answer, name, hidden=False)
                    return answer.status, _facts_in(answer)
            except NoAnswer as error:
                if attempt >= self._options.retries:
                    raise self.lost(name, error) from error
                after_no_answer(attempt - 1)
        raise AssertionError  # not reached: there is no end to counting

    def lost(self, name: str, error: NoAnswer) -> RemoteUnavailable:
        """The error where nothing came in all tries."""
        return RemoteUnavailable(f"{self.called(name)} does not answer ({error})", hint=NO_ANSWER)


class _Facts(NamedTuple):
    """What an answer says of the file."""

    etag: str | None
    modified: str | None
    size: int | None  # bytes of the whole file
    is_weak: bool  # of the ETag
    is_strong: bool  # who says the same again gives the same bytes

    @property
    def kind(self) -> str | None:
        """The kind of the identity that is offered."""
        if self.etag is not None:
            return WEAK if self.is_weak else ETAG
        return MODIFIED if self.modified is not None else None

    def identity(self, kind: str | None) -> str | None:
        """What is said of that kind. ETags are compared whether they are weak or not."""
        return {ETAG: self.etag, WEAK: self.etag, MODIFIED: self.modified}.get(kind or "")


class HttpSource:
    """The files of one server, which somebody allowed. Any number of threads may use it at once."""

    def __init__(self, place: str, options: RemoteOptions) -> None:
        self._retries = options.retries
        self._client = _Client(place, options, judged=True)

    def look(self, address: Address) -> Target | None:
        """What the server says of the file, as it is now; None if there is none."""
        facts = self._facts(address.path)
        if facts is None:
            return None
        return Target(address.uri, _name(address), facts.size, facts.kind, facts.identity(facts.kind))

    def list(self, address: Address, most: int | None = None) -> Iterator[Target]:
        """HTTP has no way to ask what is there: StorageError."""
        raise StorageError(
            f"nothing lists what is below '{escape(address.uri)}': it is served over HTTP",
            hint="add a reference to each object, or reach the same storage as s3://, gs://, az:// or file://",
        )

    def check(self, target: Target) -> None:
        """Hold what the server says now against the target."""
        facts = self._facts(parse_address(target.uri).path)
        if facts is None:
            raise _missing(target)
        _hold(target, facts)

    def read(self, target: Target, start: int = 0) -> Iterator[bytes]:
        """The bytes from *start* on."""
        if start and not is_resumable(target):
            raise StorageError(
                f"'{escape(target.uri)}' cannot be gone on with: its server does not tell versions apart",
                hint="fetch it from its beginning",
            )
        if start and start == target.size:
            self.check(target)
            return
        yield from _Reading(self._client, self._retries, target, start).pieces()

    def _facts(self, path: str) -> _Facts | None:
        """What a HEAD tells, or, if refused or too little, a GET without its bytes; None if there is none."""
        status, facts = self._client.ask("HEAD", path)
        if status in _NO_HEAD or (facts is not None and None in (facts.kind, facts.size)):
            _, facts = self._client.ask("GET", path)
        return facts


class _Reading:
    """One read, over as many answers as it takes."""

    def __init__(self, client: _Client, retries: int, target: Target, start: int) -> None:
        self._client, self._retries = client, retries
        self._target, self._start, self._path = target, start, parse_address(target.uri).path
        self._at = start  # what was given ends here
        self._given = blake3()  # all of it, where no validator says whether the rest belongs to it
        self._first: _Facts | None = None
        self._answers = 0
        self._unconditional = False  # the server refused the condition, which it may have misunderstood
        self._whole = False  # parts that it gives cannot be checked

    def pieces(self) -> Generator[bytes]:
        """All bytes from the start to the end of the file."""
        attempt, done = 0, False
        while not done and (self._at != self._target.size or not self._answers):
            before = self._at
            try:
                done = yield from self._once()
            except NoAnswer as error:
                attempt = 1 if self._at > before else attempt + 1
                if attempt >= self._retries:
                    raise self._client.lost(self._path, error) from error
                after_no_answer(attempt - 1)
        if self._target.size is not None and self._at != self._target.size:
            raise _other_size(self._target, f"{self._at:,}")
        if self._answers > 1 or self._at - self._start >= _LOOKED_AT_AGAIN:
            # A file that is written in place may change while an answer comes. GET, for HEAD may tell less.
            _, facts = self._client.ask("GET", self._path)
            if facts is None:
                raise _missing(self._target)
            _hold(self._target, facts)

    def _once(self) -> Generator[bytes, None, bool]:
        """What one answer brings; whether it was the last of the file, rather than one to be asked in another way."""
        begin = self._at if self._is_strong else self._start
        headers = {"Range": f"bytes={begin}-"} if begin and not self._whole else {}
        with self._client.request(self._path, headers | self._condition()) as answer:
            if answer.status in _GONE:
                raise _missing(self._target)
            if answer.status == 412 and not self._unconditional:
                self._unconditional = True
                return False
            self._client.check(answer, self._path, hidden=False)
            facts = _facts_in(answer)
            if answer.status == 416:
                raise _other_size(self._target, f"at most {begin:,}" if facts.size is None else f"{facts.size:,}")
            nameless = facts.identity(self._target.identity_kind) is None and self._target.identity is not None
            if answer.status == 206 and nameless and not self._whole:
                self._whole = True
                return False
            _hold(self._target, facts)
            self._keep(facts)
            yield from self._give(answer, _offset(answer, begin, self._client.called(self._path)))
        return True

    @property
    def _is_strong(self) -> bool:
        return self._first is None or self._first.is_strong

    def _keep(self, facts: _Facts) -> None:
        """What the first answer says holds for all that follow, also where the target says nothing."""
        self._answers += 1
        if self._first is None:
            self._first = facts
            if self._target.identity is None:
                self._target = self._target._replace(identity_kind=facts.kind, identity=facts.identity(facts.kind))
            if self._target.size is None:
                self._target = self._target._replace(size=facts.size)

    def _condition(self) -> dict[str, str]:
        kind, identity = self._target.identity_kind, self._target.identity
        if self._unconditional or identity is None or not identity.isascii() or not identity.isprintable():
            return {}
        if kind == ETAG and '"' not in identity:  # of a weak one RFC 9110 says that it never matches
            return {"If-Match": f'"{identity}"'}
        return {"If-Unmodified-Since": identity} if kind == MODIFIED else {}

    def _give(self, answer: Any, position: int) -> Generator[bytes]:
        """The bytes of an answer, which begins at *position*, that were not given yet."""
        again = blake3()
        for data in self._client.pieces(answer):
            if position < self._at:
                old, data = data[: self._at - position], data[self._at - position :]
                again.update(old[max(0, self._start - position) :])
                position += len(old)
                if position == self._at and not self._is_strong and again.digest() != self._given.digest():
                    raise self._mixed()
            if not data:
                continue
            position += len(data)
            if self._target.size is not None and position > self._target.size:
                raise _other_size(self._target, f"more than {self._target.size:,}")
            if not self._is_strong:
                self._given.update(data)
            self._at = position
            yield data
        if position < self._at:
            raise _other_size(self._target, f"{position:,}")

    def _mixed(self) -> ReferenceChanged:
        return ReferenceChanged(
            f"'{escape(self._target.uri)}' has changed while it was read: it does not begin as it did",
            hint="fetch it again",
        )


# ---- what answers say ----------------------------------------------------------------------------------


def _facts_in(answer: Any) -> _Facts:
    headers = answer.headers
    etag, modified = _text(headers.get("ETag")), _text(headers.get("Last-Modified"))
    is_weak = etag is not None and etag.startswith("W/")
    if etag is not None:
        etag = etag.removeprefix("W/")
        etag = etag[1:-1] if len(etag) > 1 and etag[0] == etag[-1] == '"' else etag
    return _Facts(
        etag or None,
        modified,
        _size(answer),
        is_weak,
        not is_weak if etag else modified is not None and _is_settled(modified, headers.get("Date", "")),
    )


def _text(value: str | None) -> str | None:
    """A header that may be an identity."""
    value = (value or "").strip()
    return value if value and len(value) <= _LONGEST and value.isprintable() else None


def _size(answer: Any) -> int | None:
    """The length of the whole file, where an answer says it."""
    if answer.status in (206, 416):
        found = re.search(r"/(\d{1,18})$", answer.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"\d{1,18}", length) and "Transfer-Encoding" not in answer.headers else None


def _is_settled(modified: str, date: str) -> bool:
    """Whether a file that is changed from now on has another Last-Modified: it is a second old (RFC 9110, 8.8.2.2)."""
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds() >= 1
    except (TypeError, ValueError):
        return False


def _offset(answer: Any, begin: int, called: str) -> int:
    """Where the bytes of an answer begin, of which those from *begin* on were asked for."""
    if answer.status == 200:
        return 0
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != begin:
        raise StorageError(
            f"{called} is answered with another part than was asked for", hint="ask who keeps that server"
        )
    return begin


def _name(address: Address) -> str:
    """The last component of a path as people read it; of none the server's name."""
    last = address.path.partition("?")[0].rstrip("/").rpartition("/")[2]
    plain = unquote(last, errors="replace")
    if not plain or "/" in plain or "\ufffd" in plain or escape(plain) != plain:
        plain = last
    return plain or address.place.rpartition("/")[2].partition(":")[0]


# ---- what is held against them -----------------------------------------------------------------------------


def _hold(target: Target, facts: _Facts) -> None:
    """Return if *facts* are those of the target, else raise ReferenceChanged with both."""
    kind, then = target.identity_kind, target.identity
    if then is not None:
        word, now = _WORDS.get(kind or ""), facts.identity(kind)
        if word is None:
            raise ReferenceChanged(
                f"'{escape(target.uri)}' cannot be checked: a web server tells no {escape(str(kind))}"
            )
        if now != then:
            has = f"its {word} is '{escape(now)}' now" if now else f"it has no {word} now"
            raise ReferenceChanged(f"'{escape(target.uri)}' has changed: {has}, and was '{escape(then)}'")
    if None not in (target.size, facts.size) and target.size != facts.size:
        raise _other_size(target, f"{facts.size:,}")


def _other_size(target: Target, now: str) -> ReferenceChanged:
    then = "" if target.size is None else f", and had {target.size:,}"
    return ReferenceChanged(f"'{escape(target.uri)}' has changed: it has {now} bytes now{then}")


def _missing(target: Target) -> ReferenceMissing:
    was = (
        f": its {_WORDS.get(target.identity_kind or '', 'identity')} was '{escape(target.identity)}'"
        if target.identity
        else ""
    )
    return ReferenceMissing(f"'{escape(target.uri)}' is not there any more{was}")
