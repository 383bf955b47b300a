"""Addresses: each taken apart one way, and no secret in what is recorded or said."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core.references import parse_address
from artifactvc.errors import BadValue

SECRET = "Zq7w9Kx4"

#: Everywhere a secret was seen in an address; {} stands for it.
SPELLINGS = [
    "https://user:{}@host/x", "https://{}@host/x", "HTTPS://user:{}@host:8443/x?a=b", "http://user%3A{}%40host/x",
    "https://user:pa/{}@host/x", "https://user:{}\uff20host/x", "https://user:{}%40host/x", "https://host\\@{}@h/x",
    "s3://AKIA:{}@bucket/x", "s3://AKIA:pa/{}@bucket/x", "s3://AKIA%3A{}%40bucket/x", "S3://{}@bucket", "gs://a:{}@b/x",
    "az://c:{}@account/x", "abfs://c:{}@account.dfs.core.windows.net/x", "abfss://c%3A{}@account/x",
    "file://user:{}@host/x", "user:{}@host/x", "https:/user:{}@host", "ftp://user:{}@host/x",
    "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=A&X-Amz-Credential=c&X-Amz-Signature={}",
    "https://minio.example:9000/b/k?x-amz-security-token={}", "https://h/k?AWSAccessKeyId={}&Expires=1&Signature=s",
    "https://storage.googleapis.com/b/k?X-Goog-Signature={}", "https://h/k?GoogleAccessId={}",
    "https://account.blob.core.windows.net/c/k?sv=2021&se=1&sr=b&sp=r&sig={}",
    "https://ACCOUNT.BLOB.core.windows.net/c/k?SIG={}", "http://127.0.0.1:10000/acc/c/k?sv=2021&sig={}",
    "https://account.blob.core.windows.net/c/k?versionId=1&sig={}", "abfs://c@account/k?sv=2021&sig={}",
    "az://c/k?%73ig={}", "s3://b/k?X-Amz-Signature={}", "s3://b/k?X-Amz-Signature={}?versionId=1",
    "gs://b/k?X-Goog-Signature={}#123", "gs://b?X-Goog-Signature={}", "https://h/k?Key-Pair-Id=1&Policy=2&Signature={}",
    "https://h/k?a=1;token={}", "https://h/k;jsessionid=1;token={}", "https://h/k?access_token={}", "https://h/k?%74oken={}",
    "https://h/k?API-Key={}", "https://h/k?apikey={}", "https://h/k?key={}", "https://h?password={}", "https://?token={}",
    "https://h/k?hdnea={}", "https://h/k?private-token={}", "https://h/k?client_secret={}", "https://h/k?OSSAccessKeyId={}",
    "https://h/k#access_token={}", "https://h:x/k?token={}", "https://user:{}", "https://user:{}/x", "s3:///k?sig={}",
]  # fmt: skip


def outcome(text: str) -> str:
    """All that is recorded of an address, or said of it."""
    try:
        return repr(parse_address(text))
    except BadValue as error:
        return f"{error.message} {error.hint}"


@given(st.sampled_from(SPELLINGS), st.booleans(), st.text("abcXYZ0189-_.~+=%", min_size=1, max_size=60))
@example("https://user:{}@host/x", False, "%40")
def test_no_secret_is_recorded_or_said(spelling, upper, rest):
    """It is refused, or left out of what is recorded; neither the message nor the hint repeats it."""
    scheme, separator, tail = spelling.partition("://")
    spelling = (scheme.upper() if upper else scheme) + separator + tail
    assert SECRET not in outcome(spelling.format(SECRET + rest))
    assert SECRET not in outcome(spelling.format(rest + SECRET))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_is_refused_and_what_it_says_is_no_secret(spelling):
    """But for a fragment, which is never sent, and so is left out."""
    if "#access" in spelling:
        assert parse_address(spelling.format(SECRET)).uri == "https://h/k"
        return
    with pytest.raises(BadValue) as caught:
        parse_address(spelling.format(SECRET))
    assert SECRET not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "uri", "kind", "place", "path"),
    [
        ("S3://Bucket/a b?c", "s3://Bucket/a b?c", "s3", "s3://Bucket", "a b?c"),
        ("gcs://b/a#1x", "gs://b/a#1x", "gcs", "gs://b", "a#1x"),
        ("az://$web/a", "az://$web/a", "azure", "az://$web", "a"),
        ("abfss://c@a.dfs.core.windows.net/k", "abfss://c@a.dfs.core.windows.net/k", "azure",
         "abfss://c@a.dfs.core.windows.net", "k"),
        ("https://Acc1.blob.core.windows.net/c/k", "https://acc1.blob.core.windows.net/c/k", "azure",
         "https://acc1.blob.core.windows.net/c", "k"),
        ("https://Bücher.example/a?b=c&page=2", "https://xn--bcher-kva.example/a?b=c&page=2", "http",
         "https://xn--bcher-kva.example", "a?b=c&page=2"),
        ("http://[::1]:80/a", "http://[::1]:80/a", "http", "http://[::1]:80", "a"),
        ("https://host", "https://host/", "http", "https://host", ""),
        ("file:///a//b/./c@d?e", "file:///a/b/c@d?e", "file", "file://", "/a/b/c@d?e"),
        ("avc://name@9f2c41d/a", "avc://name@9f2c41d/a", "avc", "avc://name@9f2c41d", "a"),
        ("avc://project/name:v3/a", "avc://project/name:v3/a", "avc", "avc://project", "name:v3/a"),
    ],
)  # fmt: skip
def test_an_address_is_taken_apart(text, uri, kind, place, path):
    """What is recorded is read again as the same."""
    address = parse_address(text)
    assert (address.uri, address.kind, address.place, address.path) == (uri, kind, place, path)
    assert parse_address(address.uri) == address


@pytest.mark.parametrize("text", ["s3://b ucket/x", "s3://bücket/x", "gs://b\\c/x", "https://a b/x", "https://[::1/x",
                                  "https://h:0/x", "https://h:99999/x", "https://*/x", "https:///x"])  # fmt: skip
def test_what_names_no_place_is_refused(text):
    with pytest.raises(BadValue):
        parse_address(text)


@given(
    st.text(max_size=60), st.sampled_from(["", "s3://", "gs://", "az://", "abfs://", "http://", "https://", "file:///"])
)
def test_any_text_is_an_address_or_a_bad_value(text, scheme):
    """Nothing else escapes, and what is accepted is read again as the same."""
    try:
        address = parse_address(scheme + text)
    except BadValue:
        return
    if address.version_id is None and "#" not in address.uri and "?" not in address.uri:
        assert parse_address(address.uri) == address
