"""Credentials and endpoints of object stores, from each cloud's usual places.

The one module below the command line that reads the environment: that is where the clouds'
own tools keep them. What is found goes to the client, and nowhere else; it is never stored
and never part of a message. A place that is asked over a network (an instance's role, a
sign-in) is asked by the cloud's own package, which keeps to its own settings, such as
``AWS_EC2_METADATA_DISABLED``.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

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


# ---- Azure ---------------------------------------------------------------------------------------

_SCOPE: Final = "https://storage.azure.com/.default"
_EMULATOR: Final = (
    "devstoreaccount1",  # the account and key of every emulator, from Microsoft's documentation
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
)


@dataclass(frozen=True)
class AzureAccess:
    """How a container is reached: by a key, a shared access signature, or tokens, as obstore takes them."""

    account: str
    endpoint: str
    provide: Callable[[], dict[str, Any]]


def azure_access(
    place: ObjectPlace, options: RemoteOptions, environment: Mapping[str, str] = os.environ
) -> AzureAccess:
    """The connection string, else account and key or signature, else what azure-identity finds.

    What is said for one account is never sent to another that the address names.
    """
    said = _connection_string(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    given = environment.get("AZURE_STORAGE_ACCOUNT") or environment.get("AZURE_STORAGE_ACCOUNT_NAME") or ""
    if said and (not place.account or place.account == said["account"]):
        account, key, signature, address = said["account"], said["key"], said["signature"], said["endpoint"]
    else:
        account = place.account or given
        ours = not given or given == account
        key = environment.get("AZURE_STORAGE_KEY") or environment.get("AZURE_STORAGE_ACCOUNT_KEY") or "" if ours else ""
        signature = environment.get("AZURE_STORAGE_SAS_TOKEN") or "" if ours else ""
        address = ""
    if not account:
        raise ClientError(Trouble.NO_CREDENTIALS, looked_for_azure(place))
    address = options.endpoint_url or address or f"https://{account}.blob.{place.domain or 'core.windows.net'}"
    if key:
        keys = {"access_key": key, "expires_at": None}
    elif signature:
        signature = signature.lstrip("?")
        _refuse_old(signature)
        keys = {"sas_token": signature, "expires_at": None}
    else:
        return AzureAccess(account, endpoint("azure", address), _by_azure_identity(place))
    return AzureAccess(account, endpoint("azure", address), lambda: keys)


def _connection_string(text: str) -> dict[str, str]:
    """Account, key, signature and endpoint of a connection string; nothing if there is none."""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if not parts:
        return {}
    account, key = parts.get("AccountName", ""), parts.get("AccountKey", "")
    address = parts.get("BlobEndpoint", "")
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        account, key = _EMULATOR
        address = address or f"http://127.0.0.1:10000/{account}"
    if not account and address:
        account = (urlsplit(address).hostname or "").partition(".")[0]
    scheme = parts.get("DefaultEndpointsProtocol", "https")
    address = address or f"{scheme}://{account}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"
    return {"account": account, "key": key, "signature": parts.get("SharedAccessSignature", ""), "endpoint": address}


def _refuse_old(signature: str) -> None:
    """A signature says until when it is good: one that is over need not be sent."""
    end = dict(parse_qsl(signature)).get("se", "")
    try:
        over = datetime.fromisoformat(end.replace("Z", "+00:00"))
    except ValueError:
        return
    over = over if over.tzinfo else over.replace(tzinfo=UTC)
    if over < datetime.now(UTC):  # noqa: TID251  it is the library that would compare it
        raise ClientError(Trouble.EXPIRED, f"the shared access signature was good until {end[:40]}")


def _by_azure_identity(place: ObjectPlace) -> Callable[[], dict[str, Any]]:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import CredentialUnavailableError, DefaultAzureCredential
    except ImportError:
        raise ClientError(Trouble.NO_CREDENTIALS, looked_for_azure(place)) from None
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)  # it warns of each place where it finds nothing
    held = DefaultAzureCredential()

    def provide() -> dict[str, Any]:
        try:
            token = held.get_token(_SCOPE)
        except CredentialUnavailableError:
            raise ClientError(Trouble.NO_CREDENTIALS, looked_for_azure(place)) from None
        except ClientAuthenticationError as error:
            if "AADSTS700082" in str(error) or "expired" in str(error):
                raise ClientError(Trouble.EXPIRED, "azure-identity") from error
            raise ClientError(Trouble.NO_CREDENTIALS, looked_for_azure(place)) from error
        return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, UTC)}

    return provide


def looked_for_azure(place: ObjectPlace) -> str:
    """Where credentials of an Azure account were looked for."""
    return (
        "looked in AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or"
        " AZURE_STORAGE_SAS_TOKEN, and for a sign-in of azure-identity"
        + (f", for account '{place.account}'" if place.account else "")
    )


# ---- Google Cloud Storage ------------------------------------------------------------------------

_GOOGLE: Final = "https://storage.googleapis.com"
_STORAGE: Final = ("https://www.googleapis.com/auth/devstorage.read_write",)


@dataclass(frozen=True)
class GcsAccess:
    """How a bucket is reached. ``credentials`` are google-auth's; None for nobody in particular."""

    endpoint: str
    credentials: Any


def gcs_access(options: RemoteOptions, environment: Mapping[str, str] = os.environ) -> GcsAccess:
    """A token from the environment, else what google-auth finds.

    Another server than Google's is asked as nobody where the environment gives no credentials:
    those that a machine has are not for it.
    """
    address = options.endpoint_url or environment.get("STORAGE_EMULATOR_HOST") or _GOOGLE
    if "://" not in address and not options.endpoint_url:
        address = f"http://{address}"  # as Google's own libraries take it
    address = endpoint("gcs", address)
    token = environment.get("GOOGLE_OAUTH_ACCESS_TOKEN") or environment.get("CLOUDSDK_AUTH_ACCESS_TOKEN")
    if token:
        from google.oauth2.credentials import Credentials

        return GcsAccess(address, Credentials(token))  # type: ignore[no-untyped-call]
    if address != _GOOGLE and not environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return GcsAccess(address, None)
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, RefreshError

    try:
        found, _ = google.auth.default(scopes=_STORAGE)
    except DefaultCredentialsError as error:
        raise ClientError(Trouble.NO_CREDENTIALS, LOOKED_FOR_GCS) from error
    except RefreshError as error:
        raise ClientError(Trouble.EXPIRED, "") from error
    return GcsAccess(address, found)


LOOKED_FOR_GCS: Final = (
    "looked in GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_OAUTH_ACCESS_TOKEN, in gcloud's application default"
    " credentials, and for a role of this machine"
)
