"""What every test shares: fixed random seeds, no network beyond this machine, no settings from outside.

- Hypothesis runs derandomized, so `make test` tests the same cases every time. `make soak` sets
  ``AVC_SOAK`` (how many times the usual rounds) and ``AVC_SEED``.
- A connection to anything but loopback is an error, raised where it is tried.
- The `avc` that tests start sees no setting, credential or home of the person who runs them.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SOAK = int(os.environ.get("AVC_SOAK") or 1)
SEED = int(os.environ.get("AVC_SEED") or 20260101)

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=_QUIET)
settings.register_profile(
    "soak", max_examples=100 * SOAK, deadline=None, database=None, suppress_health_check=_QUIET, print_blob=True
)
settings.load_profile("soak" if SOAK > 1 else "ci")

if importlib.util.find_spec("tests.servers") and importlib.util.find_spec("tests.servers.fixtures"):
    pytest_plugins = ["tests.servers.fixtures"]

_FOREIGN = ("AVC_", "WANDB_", "AWS_", "GOOGLE_", "AZURE_", "GIT_")
_KEPT = ("AVC_SOAK", "AVC_SEED", "AVC_REQUIRE_SERVERS")
for _name in list(os.environ):
    if _name.startswith(_FOREIGN) and _name not in _KEPT:
        del os.environ[_name]
_HOME = tempfile.TemporaryDirectory(prefix="avc-tests-home-", ignore_cleanup_errors=True)  # of fixtures shared by tests
os.environ["HOME"] = _HOME.name
# SDKs that find no credentials ask a metadata address for them; tests never do.
os.environ.update(AWS_EC2_METADATA_DISABLED="true", NO_GCE_CHECK="true", NO_COLOR="1", GIT_CONFIG_NOSYSTEM="1")
# Started in the background of a script, this process ignores Ctrl-C, and so would every `avc` that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _loopback_only(event: str, args: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    address = args[1]
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"a test tried to reach '{address[0]}', which is not this machine")


sys.addaudithook(_loopback_only)


def pytest_report_header() -> str:
    """The line that says how a failing soak can be run again."""
    return f"avc: seed {SEED}, {SOAK} times the usual rounds"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests tell of themselves (property ``told``): how much was played, and from which seed."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "told":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own, so that nobody's settings are read or written."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    return home


@pytest.fixture(scope="session")
def soak() -> int:
    """How many times the usual rounds a crash or race test should run: 1 in `make test`."""
    return SOAK


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """A generator seeded from the run's seed and the test's name: the same in every run of that seed."""
    return random.Random(f"{SEED}:{request.node.nodeid}")
