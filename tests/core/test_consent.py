"""Consent: what a list of places covers, what a private address is, and commands that are safe to be copied."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core.consent import Allowed, is_public, parse_allowed, place_of, proposal
from artifactvc.core.references import parse_address
from artifactvc.errors import BadValue


def covered(setting: str, uri: str) -> bool:
    return parse_allowed(setting).covers(place_of(parse_address(uri)))


def named(setting: str, uri: str) -> bool:
    return parse_allowed(setting).names(place_of(parse_address(uri)))


@pytest.mark.parametrize(
    ("setting", "uri"),
    [
        ("s3://bucket", "s3://bucket/a/b"),
        ("s3://bucket/", "S3://bucket/a?versionId=7"),
        ("gs://bucket", "gcs://bucket/a#123"),
        ("gcs://bucket", "gs://bucket/a"),
        ("az://container", "az://container/a"),
        ("abfss://c@account.dfs.core.windows.net", "abfs://c@account.dfs.core.windows.net/a"),
        ("https://account.blob.core.windows.net/c", "https://account.blob.core.windows.net/c/a"),
        ("https://Account.blob.core.windows.net", "https://account.blob.core.windows.net/c/a"),
        ("https://data.example.org", "https://DATA.example.org./a?b=c"),
        ("https://data.example.org:443", "https://data.example.org/a"),
        ("http://data.example.org", "http://data.example.org:80/a"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/a"),
        ("http://[::1]:8080", "http://[::1]:8080/a"),
        ("file:///mnt/data", "file:///mnt/data/a/b"),
        ("file:///mnt/data/", "file:///mnt/data"),
        ("file:///", "file:///etc/passwd"),
        ("s3://other, https://x.example.org , s3://bucket,", "s3://bucket/a"),
    ],
)
def test_a_place_in_the_list_is_allowed(setting, uri):
    """However host, scheme and port are spelled; of a path all that is below it."""
    assert covered(setting, uri)
    assert named(setting, uri)


@pytest.mark.parametrize(
    ("setting", "uri"),
    [
        ("", "s3://bucket/a"),
        ("s3://bucket", "s3://bucket2/a"),
        ("s3://bucket", "gs://bucket/a"),
        ("https://data.example.org", "http://data.example.org/a"),
        ("https://data.example.org", "https://data.example.org:8443/a"),
        ("https://data.example.org", "https://data.example.org.evil.example/a"),
        ("https://account.blob.core.windows.net/c", "https://account.blob.core.windows.net/d/a"),
        ("file:///mnt/data", "file:///mnt/data2/a"),
        ("file:///mnt/data", "file:///mnt"),
        ("file:///mnt/data/a", "file:///mnt/data"),
        ("s3://*, gs://*, az://*, abfs://*, https://*, http://*", "file:///mnt/data"),
        ("https://*.example.org", "https://example.org/a"),
        ("https://*.example.org", "https://badexample.org/a"),
        ("https://*", "http://data.example.org/a"),
    ],
)
def test_a_place_that_is_not_in_the_list_is_not_allowed(setting, uri):
    assert not covered(setting, uri)


@pytest.mark.parametrize(
    ("setting", "uri"),
    [
        ("s3://*", "s3://bucket/a"),
        ("gcs://*", "gs://bucket/a"),
        ("abfss://*", "abfs://c@account/a"),
        ("https://*/", "https://data.example.org/a"),
        ("https://*", "https://account.blob.core.windows.net/c/a"),
        ("https://*", "https://8.8.8.8/a"),
        ("HTTPS://*.Example.org", "https://a.b.example.org/a"),
        ("https://*.example.org", "https://data.example.org:8443/a"),
    ],
)
def test_a_wildcard_allows_and_names_nothing(setting, uri):
    """What only a wildcard covers may not be private."""
    assert covered(setting, uri)
    assert not named(setting, uri)


PRIVATE = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
    "2001:0:a00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_internet_at_large(address):
    """Loopback, private, link-local and unspecified, also inside an address of IPv6."""
    assert not is_public(address)
    if "%" not in address:
        host = f"[{address}]" if ":" in address else address
        assert not covered("https://*, http://*", f"http://{host}:8080/a")
        assert covered(f"http://{host}:8080", f"http://{host}:8080/a")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_an_address_of_the_internet_at_large(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "localhost.", "a.localhost"])
def test_this_machine_by_name_has_to_be_named(host):
    assert not covered("http://*", f"http://{host}/a")
    assert covered(f"http://{host}", f"http://{host}/a")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("bucket", "has no scheme"),
        ("s3://", "names no bucket"),
        ("ftp://host", "cannot be referred to"),
        ("s3://bucket/key", "is more than a place"),
        ("https://host/path", "is more than a place"),
        ("https://host/?a=b", "is more than a place"),
        ("https://user:geheim@host", "holds a password"),
        ("avc://name:v3", "needs no consent"),
        ("*", "is no place to allow"),
        ("s3://a*", "is no place to allow"),
        ("https://*.*", "is no place to allow"),
        ("*://host", "is no place to allow"),
        ("https://data.*.org", "is no place to allow"),
        ("file://*", "two slashes"),
        ("file://mnt/data", "two slashes"),
        ("file:///mnt/../etc", "climbs"),
    ],
)
def test_what_is_no_place_is_refused_with_what_to_write(setting, said):
    with pytest.raises(BadValue) as caught:
        parse_allowed(f"s3://good, {setting}")
    assert said in caught.value.message
    assert "geheim" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_two_lists_allow_what_either_allows():
    both = parse_allowed("s3://a") | Allowed(["file:///x"])
    assert both.covers("s3://a")
    assert both.covers("file:///x/y")
    assert not both.covers("s3://b")


def test_what_was_adopted_is_never_taken_for_a_wildcard():
    """Lines of the file are places as they stand."""
    assert not Allowed(["https://*", "s3://*"]).covers("https://data.example.org")


_PATHS = st.lists(st.text(st.sampled_from("ab ,*'\"$`\\;&|\u202e\u00a0éz:/"), min_size=1, max_size=8), min_size=1)


@given(_PATHS, st.sampled_from(["", "s3://mine", "s3://mine, https://*"]))
@example(["x,https://*", "f"], "")
@example(["x, file:///", "f"], "")
@example(["$(reboot)", "f"], "s3://mine")
def test_the_command_that_is_proposed_allows_what_it_says_and_no_more(parts, current):
    """Whoever made the version chose the address: a shell still sets this one setting only."""
    uri = "file:///home/" + "/".join(part.strip("/") or "x" for part in parts)
    place = place_of(parse_address(uri))
    argv = shlex.split(proposal(current, [place, "s3://other"]))
    assert argv[:4] == ["avc", "config", "set", "refs.allow"]
    assert len(argv) == 5
    allowed = parse_allowed(argv[4])
    assert allowed.covers(place)
    assert allowed.covers("s3://other")
    assert allowed.covers("s3://mine") == bool(current)
    assert allowed.covers("https://evil.example.org") == ("https://*" in current)
    assert not allowed.covers("file:///etc/passwd") or allowed.names("file:///")


def test_a_directory_is_proposed_once_with_all_below_it():
    files = ["file:///data/sub/b", "file:///data/a", "file:///data/sub/deep/c", "file:///data2/d", "file:///database"]
    assert shlex.split(proposal("", files[:4]))[4] == "file:///data, file:///data2"
    assert shlex.split(proposal("", files))[4] == "file:///"


def test_many_places_are_not_all_proposed():
    argv = shlex.split(proposal("s3://mine", [f"s3://b{n}" for n in range(10_000)]))
    assert argv[4].count(",") == 20
