"""Digests: BLAKE3-256 as 64 lower-case hex digits."""

from __future__ import annotations

from typing import Final

from blake3 import blake3

#: From this many bytes on, a second thread makes hashing faster.
_THREADED: Final = 1 << 20


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return the digest of *data*."""
    return blake3(data).hexdigest()


_state = {"threads": True}


def use_one_thread() -> None:
    """In a forked child: the thread pool that the parent may have made has no threads here, and would never answer."""
    _state["threads"] = False


class StreamDigest:
    """The digest of bytes that come in pieces."""

    def __init__(self) -> None:
        self._one = blake3()
        self._many = blake3(max_threads=blake3.AUTO) if _state["threads"] else self._one
        self._hasher = self._one

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece; it is read before the call returns."""
        # The first large piece decides: small streams never pay for the thread pool.
        if self._hasher is self._one and len(data) >= _THREADED and self._one.digest() == blake3().digest():
            self._hasher = self._many
        self._hasher.update(data)

    def digest(self) -> str:
        """The digest of all pieces so far."""
        return self._hasher.hexdigest()
