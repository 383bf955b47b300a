"""Azure Blob storage by Azurite, Microsoft's own emulator; data in memory.

::

    python -m tests.servers.azurite [--port N]

Needs npm's ``azurite`` (``make azurite``). The account and its key are those that every Azure
emulator has. Newer API versions than Azurite knows are let through: the SDKs are newer than it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.servers.starting import HOST, free_port, program, scratch, serve

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
OPTIONS = ("--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry")
INSTALLED = Path(__file__).parents[2] / ".venv/azurite/node_modules/.bin"


def binary() -> str | None:
    """Where Azurite's blob service is, if it is here."""
    return program("azurite-blob", str(INSTALLED)) if program("node") else None


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    port = parser.parse_args().port or free_port()
    found = binary() or sys.exit("azurite-blob is not on this machine: run 'make azurite'")
    address = f"http://{HOST}:{port}/{ACCOUNT}"
    with scratch("azurite") as place:
        os.chdir(place)  # what it writes in spite of that is written where it stands
        serve(
            [found, "--blobHost", HOST, "--blobPort", str(port), *OPTIONS],
            [port],
            {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;"
                f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={address};",
                "AZURITE_ENDPOINT": address,
            },
        )


if __name__ == "__main__":
    main()
