"""--timeout, --retries, --bwlimit, Ctrl-C: transfers that stall, break or are not wanted any more, on real sockets."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from artifactvc.errors import BadName, RemoteRefused, RemoteUnavailable
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.transport import RemoteOptions, transfer_limits
from artifactvc.util.rate import Rate
from artifactvc.util.text import parse_rate
from tests.faults.helpers import avc, ended, said_cleanly, start
from tests.support import clone, inside, new, origin, reopen, tree, version

FILES = {**{f"s{i}": f"{i}" * 200 for i in range(100)}, "t": "x"}


@pytest.fixture
def s3(moto, monkeypatch):
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    return moto


def _published(tmp_path: Path, url: str, rng) -> None:
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {**FILES, "large": rng.randbytes(3 << 20)})
    one.push()
    one.close()


@pytest.mark.parametrize("text", ["500K", "10M", "1.5M", "1g", "4096", "1"])
def test_a_rate_is_bytes_a_second_in_powers_of_1024(text):
    expected = {"500K": 512_000, "10M": 10 << 20, "1.5M": 3 << 19, "1g": 1 << 30, "4096": 4096, "1": 1}
    assert parse_rate(text) == expected[text]


@pytest.mark.parametrize("text", ["", "0", "0.0001", "-1", "5X", "10 MB", "K", "1e9", "NaN", "٣"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(BadName, match="bad rate") as caught:
        parse_rate(text)
    assert caught.value.hint == "write bytes a second, K, M or G for powers of 1024: 500K, 10M, 1.5M"


def test_limits_go_over_what_a_remote_says():
    """What is not given is as configured; retries are the tries after the first."""
    options = RemoteOptions(timeout=7, retries=2, region="x")
    assert transfer_limits().over(options) == options
    limits = transfer_limits(timeout=0.5, retries=0, bwlimit=1000)
    over = limits.over(options)
    assert (over.timeout, over.retries, over.region) == (0.5, 1, "x")
    assert over.rate is limits.rate


def test_a_rate_holds_for_every_byte_of_a_directory(tmp_path):
    """Counted on a clock of its own: so many bytes need so many seconds, whichever way they go."""
    now = [0.0]
    rate = Rate(100_000, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    transport = DirectoryTransport(tmp_path, RemoteOptions(rate=rate))
    (tmp_path / "source").write_bytes(bytes(1_000_000))
    steps: list[int] = []
    transport.upload("packs/a", tmp_path / "source", advance=steps.append)
    assert now[0] >= 8
    assert sum(steps) == 1_000_000
    assert max(steps) <= 25_000, "it moves steadily, not in one leap"
    transport.download("packs/a", tmp_path / "b", 1_000_000)
    assert now[0] >= 17
    list(transport.read_ranges([("packs/a", 0, 500_000), ("packs/a", 0, 500_000)]))
    assert now[0] >= 22


def test_a_server_that_is_silent_is_given_up(s3, fault_proxy, tmp_path, monkeypatch, rng):
    """It takes every byte and answers nothing: one line after the tries allowed, and the next push goes on."""
    proxy = fault_proxy(s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    one = new(tmp_path / "one")
    origin(one, f"s3://{s3.bucket()}")
    version(one, {**FILES, "large": rng.randbytes(1 << 20)})
    one.close()
    proxy.set(blackhole=True)
    answer = avc(tmp_path / "one", "push", "--timeout", "0.3", "--retries", "1")
    said_cleanly(answer)
    assert answer.err.startswith("error: remote 'origin': "), answer.err
    assert answer.err.count("\n") == 2, "one line, and a hint"
    proxy.set(blackhole=False, kill=True)
    with reopen(tmp_path / "one") as again:
        assert again.push().versions == ("demo/data:v0",)


def test_answers_that_fail_now_and_then_are_asked_for_again(s3, tmp_path, rng):
    """503 and broken connections on reads and writes: sent again after a pause, and all arrives."""
    url = f"s3://{s3.bucket()}"
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {**FILES, "large": rng.randbytes(3 << 20)})
    s3.faults([{"method": "PUT", "path": "packs", "times": 2, "status": 503, "code": "SlowDown"}])
    one.push()
    other = clone(url, tmp_path / "other")
    s3.faults([{"method": "GET", "path": "packs", "times": 2, "abort": True}])
    other.pull()
    assert other.fsck(full=True).problems == ()


def test_without_retries_the_first_failure_ends_it(s3, tmp_path, rng):
    one = new(tmp_path / "one")
    origin(one, f"s3://{s3.bucket()}")
    version(one, {"a": "1"})
    one.limit(retries=0)
    s3.faults([{"method": "PUT", "path": "packs", "times": 1, "status": 503, "code": "SlowDown"}])
    with pytest.raises(RemoteUnavailable, match="remote 'origin': "):
        one.push()
    s3.faults([])
    assert one.push().versions == ("demo/data:v0",)


def test_a_connection_cut_again_and_again_is_gone_on_with(s3, fault_proxy, tmp_path, monkeypatch, rng):
    """Each command is cut off in mid-object for good; what came stays, and in the end all of it is here."""
    url = f"s3://{s3.bucket()}"
    _published(tmp_path, url, rng)
    proxy = fault_proxy(s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setattr("artifactvc.ops.transfer._PIECE", 256 << 10)
    other = clone(url, tmp_path / "other")
    other.limit(retries=1, timeout=5)
    proxy.set(cut_down=700_000, cuts=4)
    failures = 0
    for _ in range(20):
        other.session.unreachable.clear()
        try:
            other.pull()
            break
        except RemoteUnavailable:
            failures += 1
    assert other.fsck(full=True).problems == ()
    with inside(tmp_path / "other"):
        other.checkout("data")
    assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")


def test_credentials_that_are_over_end_it_at_once(s3, tmp_path, rng):
    """No try is made again: one request more than what succeeds, and one line that says what it is."""
    one = new(tmp_path / "one")
    origin(one, f"s3://{s3.bucket()}")
    version(one, {"a": "1"})
    s3.faults([{"times": 100, "status": 403, "code": "ExpiredToken"}])
    with pytest.raises(RemoteRefused, match=r"remote 'origin': the credentials for .* have expired") as caught:
        one.push()
    assert "\n" not in caught.value.message
    assert sum(s3.seen().values()) <= 2, "one for the log, and one that renewed what could be renewed"


def _waits(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.01)


@pytest.mark.parametrize("deed", ["push", "pull"])
def test_ctrl_c_ends_a_transfer_and_the_next_one_goes_on(tmp_path, rng, deed):
    """130, one line, nothing half-written; then the same command again brings all."""
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, {**FILES, **{f"large{i}": rng.randbytes(300_000) for i in range(12)}})
    one.close()
    place = tmp_path / "one"
    if deed == "pull":
        assert avc(place, "push").code == 0
        place = tmp_path / "other"
        clone(tmp_path / "remote", place).close()
    process = start(place, deed, "--bwlimit", "300K")
    moving = (tmp_path / "remote" / "packs") if deed == "push" else (place / ".artifacts" / "objects")
    _waits(lambda: any(path.is_file() for path in moving.rglob("*")) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    answer = ended(process)
    assert (answer.code, answer.err.strip()) == (130, "interrupted")
    with reopen(place) as again:
        result = again.push() if deed == "push" else again.pull()
        assert result.versions == ("demo/data:v0",)
    other = clone(tmp_path / "remote", tmp_path / "third") if deed == "push" else reopen(place)
    other.pull()
    assert other.fsck(full=True).problems == ()
    assert other.show("data").here
    other.close()


def test_ctrl_c_does_not_wait_for_a_silent_server(s3, fault_proxy, tmp_path, monkeypatch, rng):
    """Threads that hear nothing any more do not keep the command from ending, nor crash it as it ends."""
    proxy = fault_proxy(s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    one = new(tmp_path / "one")
    origin(one, f"s3://{s3.bucket()}")
    version(one, {f"large{i}": rng.randbytes(1 << 20) for i in range(4)})
    one.close()
    proxy.set(rate=200_000)
    sent = proxy.set()["counters"]["up"]
    process = start(tmp_path / "one", "push", "--timeout", "60")
    _waits(lambda: proxy.set()["counters"]["up"] > sent + 300_000 or process.poll() is not None)
    proxy.set(blackhole=True)
    process.send_signal(signal.SIGINT)
    answer = ended(process, timeout=40)
    assert (answer.code, answer.err.strip()) == (130, "interrupted")
    proxy.set(reset=True, kill=True)
    with reopen(tmp_path / "one") as again:
        assert again.push().versions == ("demo/data:v0",)
