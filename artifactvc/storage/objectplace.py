"""Addresses of object stores, and the words that each kind has for its parts.

``s3://bucket/path``, ``gs://bucket/path`` (also ``gcs://``), ``az://container/path``,
``abfs[s]://container[@account.dfs.core.windows.net]/path``, and
``https://ACCOUNT.blob.core.windows.net/container/path``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from artifactvc.errors import UsageError

# Azure's own clouds and no other: credentials go where an address says, and it may have come with artifacts.toml (H4).
_AZURE: Final = re.compile(
    r"([a-z0-9]{3,24})\.(?:blob|dfs)\.(core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net|cloudapi\.de))"
)
_SCHEMES: Final = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_SIGN_IN: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (AWS_PROFILE; of a remote --profile)",
    "gcs": "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS",
    "azure": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or run 'az login'",
}
_SIGN_IN_AGAIN: Final = {
    "s3": "sign in again ('aws sso login'), or renew the keys and the session token",
    "gcs": "run 'gcloud auth application-default login'",
    "azure": "run 'az login', or renew the shared access signature",
}


@dataclass(frozen=True)
class ObjectPlace:
    """Where a remote's objects are: below *prefix* in a bucket (Azure: a container of an account)."""

    kind: str  # "s3", "gcs" or "azure"
    url: str  # as people write it
    bucket: str
    prefix: str
    account: str = ""  # Azure's, where the address names it
    domain: str = ""  # and what its hosts end with

    @property
    def holder(self) -> str:
        """What the cloud calls a bucket."""
        return "container" if self.kind == "azure" else "bucket"

    @property
    def sign_in(self) -> str:
        """How credentials are given."""
        return _SIGN_IN[self.kind]

    @property
    def sign_in_again(self) -> str:
        """How credentials that are over are renewed."""
        return _SIGN_IN_AGAIN[self.kind]


def is_azure_host(host: str) -> bool:
    """Whether *host* is one of Azure's blob stores."""
    return _AZURE.fullmatch(host.lower()) is not None


def parse_place(url: str) -> ObjectPlace | None:
    """The place that an address of an object store names, or None for another kind of address.

    Raises UsageError for one that names no bucket.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    host, _, path = rest.partition("/")
    if scheme == "https" and is_azure_host(host):
        container, _, path = path.partition("/")
        return _azure(container, host, path, url)
    if scheme not in _SCHEMES:
        return None
    if _SCHEMES[scheme] == "azure":
        container, _, host = host.partition("@")
        return _azure(container, host, path, url)
    return _place(_SCHEMES[scheme], "gs" if scheme == "gcs" else scheme, host, path)


def _place(kind: str, scheme: str, bucket: str, path: str, account: str = "", domain: str = "") -> ObjectPlace:
    prefix = path.strip("/")
    example = {"s3": "s3://bucket/path", "gcs": "gs://bucket/path", "azure": "az://container/path"}[kind]
    if not bucket:
        name = {"s3": "an S3 remote", "gcs": "a Google Cloud Storage remote", "azure": "an Azure remote"}[kind]
        raise UsageError(f"{name} needs a {'container' if kind == 'azure' else 'bucket'}", hint=f"write {example}")
    at = f"{bucket}@{account}.dfs.{domain}" if account else bucket
    return ObjectPlace(
        kind, f"{scheme}://" + "/".join(part for part in (at, prefix) if part), bucket, prefix, account, domain
    )


def _azure(container: str, host: str, path: str, url: str) -> ObjectPlace:
    if not host:
        return _place("azure", "az", container, path)
    found = _AZURE.fullmatch(host.lower())
    if found is None:
        raise UsageError(
            f"'{host}' is no host of Azure's storage",
            hint="write abfs://container@ACCOUNT.dfs.core.windows.net/path; another server is given by --endpoint-url",
        )
    return _place("azure", "abfs", container, path, found[1], found[2])
