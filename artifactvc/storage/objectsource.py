"""Buckets as sources of references: S3, Google Cloud Storage and Azure Blob.

- What an object is now is told by its headers, or by one listing of all below a directory;
  no bytes are read for it.
- Bytes are asked for in the version that was recorded, or on condition that the object is
  still the one that was recorded; and every answer is held against the identity before its
  first piece. So a change between two requests, or behind a server that knows no conditions,
  is an error and never a mixture.
- A connection that breaks is asked again from where it broke.
- Credentials come from each cloud's usual places (``credentials.py``) and go to the
  configured endpoint alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import chain
from typing import TypeVar

from artifactvc.core.references import GENERATION, Address, Target
from artifactvc.errors import AvcError, ReferenceChanged, ReferenceMissing, StorageError
from artifactvc.storage.bucketlink import Found, Reader
from artifactvc.storage.objectclient import ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace, parse_place
from artifactvc.storage.objectstore import explain
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.backoff import after_no_answer
from artifactvc.util.lanes import ahead
from artifactvc.util.sorting import in_order
from artifactvc.util.text import escape

T = TypeVar("T")


class ObjectSource:
    """The objects of one bucket, or Azure container. *connect* is called when the first is asked for."""

    def __init__(self, place: ObjectPlace, address: str, options: RemoteOptions, connect: Callable[[], Reader]) -> None:
        self._place, self._address, self._options, self._connect = place, address, options, connect
        self._lock = threading.Lock()

    @cached_property
    def _opened(self) -> Reader:
        return self._connect()

    def _reader(self) -> Reader:
        with self._lock:
            return self._opened

    def _asked(self, key: str, deed: Callable[[Reader], T]) -> T:
        """What *deed* gives, tried again where no answer came, its failure as people are told of it."""
        try:
            reader = self._reader()
            return again(self._options, partial(deed, reader))
        except ClientError as error:
            raise self._explained(error, key) from error

    def _explained(self, error: ClientError, key: str) -> AvcError:
        if error.trouble is Trouble.ELSEWHERE:
            return StorageError(
                f"'{self._place.url}' is in another region", hint="name it in AWS_REGION, or in the profile"
            )
        told = explain(self._place, error, escape(key))
        if error.trouble is Trouble.REFUSED and self._place.kind == "s3":
            told.hint += "; who may not list a bucket is refused what is not there, too"
        return told

    def _key(self, target: Target) -> str:
        return target.uri.removeprefix(self._address).removeprefix("/")

    # ---- what is there -------------------------------------------------------------------------

    def look(self, address: Address) -> Target | None:
        """The object at a key; None for a directory, whatever stands for it there."""
        key = address.path
        if not key or key.endswith("/"):
            return None
        found = self._asked(key, lambda reader: reader.head(key, address.version_id))
        if found is None or found.is_directory:
            return None
        return self._target(found, address.uri, key.rpartition("/")[2])

    def list(self, address: Address, most: int | None = None) -> Iterator[Target]:
        """All objects below a directory, by one listing; the next page is asked for while one is at work."""
        prefix = address.path if not address.path or address.path.endswith("/") else f"{address.path}/"
        cut, base, kind = len(prefix), self._address, None
        for key, size, identity, version, is_directory in self._listed(prefix):
            if not is_directory and not key.endswith("/"):
                kind = kind or self._opened.identity_kind
                yield Target(f"{base}/{key}", key[cut:], size, kind if identity else None, identity, version)

    def _listed(self, prefix: str) -> Iterator[Found]:
        try:
            reader = self._reader()
            found = chain.from_iterable(ahead(reader.pages(prefix)))
            yield from found if reader.in_order else in_order(found, _key_bytes, Found._make)
        except ClientError as error:
            raise self._explained(error, prefix) from error

    def _target(self, found: Found, uri: str, name: str) -> Target:
        kind = self._opened.identity_kind if found.identity is not None else None
        return Target(uri, name, found.size, kind, found.identity, found.version_id)

    # ---- one version -----------------------------------------------------------------------------

    def check(self, target: Target) -> None:
        """Ask for what is known of that very version, not for its bytes."""
        key = self._key(target)
        found = self._asked(key, lambda reader: reader.head(key, _version(target)))
        if found is None:
            raise self._gone(target)
        self._hold(target, found)

    def _hold(self, target: Target, found: Found) -> None:
        """Raise ReferenceChanged unless *found* is what *target* says."""
        kind = self._opened.identity_kind
        if target.identity is not None and (target.identity_kind, target.identity) != (kind, found.identity):
            raise _changed(target, f"{kind} '{found.identity}'", f"{target.identity_kind} '{target.identity}'")
        if target.size is not None and found.size != target.size:
            raise _changed(target, f"{found.size} bytes", f"{target.size}")

    def _gone(self, target: Target) -> AvcError:
        """What to tell of a version that is not there: Google's of a bucket without versions is another now."""
        key, version = self._key(target), _version(target)
        if version is not None and self._opened.identity_kind == GENERATION:
            found = self._asked(key, lambda reader: reader.head(key, None))
            if found is not None:
                return _changed(target, f"generation '{found.identity}'", f"generation '{version}'")
        which = f"version '{escape(version)}' of '{escape(target.uri)}'" if version else f"'{escape(target.uri)}'"
        return ReferenceMissing(f"{which} is not there any more")

    def read(self, target: Target, start: int = 0) -> Iterator[bytes]:
        """The bytes of that very version, asked for again from where a connection broke."""
        key, at, attempt = self._key(target), start, 0
        if target.size is not None and start >= target.size > 0:
            self.check(target)
            return
        while True:
            before = at
            try:
                reader = self._reader()
                with reader.get(key, _version(target), _condition(target), at) as (found, pieces):
                    self._hold(target, found)
                    kind = reader.identity_kind if found.identity else None
                    target = target._replace(size=found.size, identity_kind=kind, identity=found.identity)
                    for data in pieces:
                        at += len(data)
                        yield data
                if target.size is None or at >= target.size:
                    return
                raise ClientError(Trouble.SILENT, "the connection was cut")
            except ClientError as error:
                attempt = self._try_again(error, target, 0 if at > before else attempt)
            after_no_answer(attempt - 1)

    def _try_again(self, error: ClientError, target: Target, attempt: int) -> int:
        """The number of the next attempt after a failed one; raises where another would do no good."""
        if error.trouble is Trouble.MISSING:
            raise self._gone(target) from error
        if error.trouble is Trouble.TAKEN:
            self.check(target)
            if self._opened.loosen():
                return 1
        if error.trouble is not Trouble.SILENT or attempt + 1 >= self._options.retries:
            raise self._explained(error, self._key(target)) from error
        return attempt + 1


def _key_bytes(found: Found) -> bytes:
    return found.key.encode("utf-8", "surrogateescape")


def _version(target: Target) -> str | None:
    """The version to ask for. Google's generation is one, whether or not the bucket keeps those before it."""
    return target.version_id or (target.identity if target.identity_kind == GENERATION else None)


def _condition(target: Target) -> str | None:
    """The identity, where a header can have it: a manifest from elsewhere may hold anything."""
    identity = target.identity or ""
    return identity if identity.isascii() and identity.isprintable() and '"' not in identity else None


def _changed(target: Target, now: str, then: str) -> ReferenceChanged:
    return ReferenceChanged(
        f"'{escape(target.uri)}' has changed: it is {escape(now)} now, and was {escape(then)}",
        hint="add it again to record what is there now",
    )


def open_bucket(address: Address, options: RemoteOptions) -> ObjectSource:
    """The bucket that *address* is in; nothing is asked of it yet."""
    place = parse_place(address.place)
    assert place is not None

    def connect() -> Reader:
        if place.kind == "gcs":
            from artifactvc.storage import gcsreader

            return gcsreader.open_gcs_reader(place, options)
        if place.kind == "azure":
            from artifactvc.storage import azurereader

            return azurereader.open_azure_reader(place, options)
        from artifactvc.storage import s3reader

        return s3reader.open_s3_reader(place, options)

    return ObjectSource(place, address.place, options, connect)
