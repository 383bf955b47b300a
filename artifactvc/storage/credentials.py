"""Credentials and endpoints of object stores, from each cloud's usual places.

The one module below the command line that reads the environment: that is where the clouds'
own tools keep them. What is found goes to the client, and nowhere else; it is never stored
and never part of a message. A place that is asked over a network (an instance's role, a
sign-in) is asked by the cloud's own package, which keeps to its own settings, such as
``AWS_EC2_METADATA_DISABLED``.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from artifactvc.errors import UsageError
from artifactvc.storage.objectclient import ClientError, Trouble
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.transport import RemoteOptions

_KEPT: Final = timedelta(minutes=5)  # botocore renews what is soon over; it is asked this often
_NAMES: Final = {"s3": "an S3 server", "gcs": "a Google Cloud Storage server", "azure": "an Azure Blob server"}
_SHOWN: Final = {"s3": "AWS_ENDPOINT_URL", "gcs": "STORAGE_EMULATOR_HOST", "azure": "the connection string"}


def endpoint(kind: str, text: str) -> str:
    """*text* as an address of a server; UsageError if it is none."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.username or parts.password or re.search(r"[\s\x00-\x1f]", text):
        shown = text if parts.password is None else "…"
        raise UsageError(
            f"'{shown}' is no address of {_NAMES[kind]}",
            hint=f"write --endpoint-url, or {_SHOWN[kind]}, as https://HOST or http://HOST:PORT",
        )
    return text.rstrip("/")


# ---- S3 ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class S3Access:
    """How a bucket is reached. ``provide`` gives the keys as obstore takes them, fresh ones each time."""

    endpoint: str | None
    region: str
    provide: Callable[[], dict[str, Any]]


def s3_access(options: RemoteOptions, environment: Mapping[str, str] = os.environ) -> S3Access:
    """What the environment, the options and the configuration files say, as botocore reads them.

    Keys in the environment are read here when no profile is meant: botocore takes a third of
    a second to load.
    """
    region = options.region or environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    address = options.endpoint_url or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        address = options.endpoint_url
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    profile = options.profile or environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    if profile or not (key and secret) or _config_is_needed(environment, region, address):
        return _by_botocore(options, environment, address)
    token = environment.get("AWS_SESSION_TOKEN") or None
    keys = {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}
    return S3Access(endpoint("s3", address) if address else None, region or "us-east-1", lambda: keys)


def _config_is_needed(environment: Mapping[str, str], region: str | None, address: str | None) -> bool:
    """Whether a configuration file may say what neither the options nor the environment do."""
    path = Path(environment.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return (region is None and "region" in text) or (address is None and "endpoint_url" in text)


def _by_botocore(options: RemoteOptions, environment: Mapping[str, str], address: str | None) -> S3Access:
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session(profile=options.profile)
    try:
        configured = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3").provide()
        region = options.region or session.get_config_variable("region") or environment.get("AWS_REGION")
        held = session.get_credentials()
    except BotoCoreError as error:
        raise aws_trouble(error) from error
    if held is None:
        raise ClientError(Trouble.NO_CREDENTIALS, looked_for_aws(session.profile))
    address = address or configured

    def provide() -> dict[str, Any]:
        try:
            keys = held.get_frozen_credentials()
        except BotoCoreError as error:
            raise aws_trouble(error) from error
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _KEPT,  # noqa: TID251  the library compares it with this machine's clock
        }

    return S3Access(endpoint("s3", address) if address else None, region or "us-east-1", provide)


def looked_for_aws(profile: str | None) -> str:
    """Where credentials of AWS were looked for."""
    return (
        "looked in AWS_ACCESS_KEY_ID, in ~/.aws/credentials and ~/.aws/config"
        f" (profile '{profile or 'default'}'), and for a role of this machine"
    )


def aws_trouble(error: BaseException) -> ClientError:
    """What botocore says when it finds no credentials, or some that are over."""
    name = type(error).__name__
    if name in ("NoCredentialsError", "NoAuthTokenError"):
        return ClientError(Trouble.NO_CREDENTIALS, looked_for_aws(None))
    if name in ("TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"):
        return ClientError(Trouble.EXPIRED, name)
    return ClientError(Trouble.NO_CREDENTIALS, " ".join(str(error).split())[:300])


class Provider:
    """Gives keys to a library that calls from threads of its own, and keeps what went wrong for who asked."""

    def __init__(self, provide: Callable[[], dict[str, Any]]) -> None:
        self._provide, self._lock = provide, threading.Lock()
        self.failed: ClientError | None = None

    def __call__(self) -> dict[str, Any]:
        """The keys."""
        with self._lock:
            try:
                keys = self._provide()
            except ClientError as error:
                self.failed = error
                raise
            self.failed = None
            return keys


# ---- what of a place is shown ----------------------------------------------------------------------


def place_of_azure(place: ObjectPlace) -> str:
    """Where credentials of an Azure account were looked for."""
    return (
        "looked in AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or"
        " AZURE_STORAGE_SAS_TOKEN, and for a sign-in of azure-identity"
        + (f" to account '{place.account}'" if place.account else "")
    )
