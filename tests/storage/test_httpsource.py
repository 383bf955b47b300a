"""References over HTTP: what is recorded, what is asked for, and that a file that changes is never a mixture."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from artifactvc.core.references import ETAG, MODIFIED, WEAK, Target, parse_address
from artifactvc.errors import (
    ReferenceChanged,
    ReferenceMissing,
    ReferenceRefused,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
)
from artifactvc.storage.sources import Source, open_source
from artifactvc.storage.transport import RemoteOptions
from tests.servers.fixtures import FaultProxy, HttpServer
from tests.servers.web import OLD, Page, Web, serving
from tests.support import refused

DATA = random.Random(5).randbytes(3_000_000)
SMALL = DATA[:50_000]
OTHER = random.Random(6).randbytes(len(SMALL))


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def source(uri: str, *named: str, **options: Any) -> Source:
    address = parse_address(uri)
    return open_source(address, RemoteOptions(named=frozenset({address.place, *named}), **{"retries": 2, **options}))


def look(uri: str, **options: Any) -> Target | None:
    return source(uri, **options).look(parse_address(uri))


def found(uri: str) -> Target:
    target = look(uri)
    assert target is not None
    return target


def read(target: Target, start: int = 0, **options: Any) -> bytes:
    return b"".join(source(target.uri, **options).read(target, start))


# ---- a good server -------------------------------------------------------------------------------------


@pytest.fixture
def served(nginx: HttpServer) -> HttpServer:
    (nginx.root / "refs").mkdir(exist_ok=True)
    path = nginx.root / "refs" / "a b.bin"
    path.write_bytes(SMALL)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return nginx


@pytest.mark.servers
@pytest.mark.parametrize(
    ("prefix", "kind", "identity", "size"),
    [
        ("files", ETAG, "6553f100-c350", 50_000),
        ("norange", ETAG, "6553f100-c350", 50_000),
        ("redirect", ETAG, "6553f100-c350", 50_000),
        ("noetag", MODIFIED, "Tue, 14 Nov 2023 22:13:20 GMT", 50_000),
        ("bare", None, None, 50_000),
        ("chunked", None, None, None),
    ],
)
def test_the_strongest_identity_that_nginx_offers_is_recorded_and_read_back(served, prefix, kind, identity, size):
    """A redirect is followed, and the address that is recorded stays the one that was given."""
    uri = f"{served.endpoint}/{prefix}/refs/a%20b.bin"
    target = found(uri)
    assert target == Target(uri, "a b.bin", size, kind, identity)
    source(uri).check(target)
    assert read(target) == SMALL
    if kind is not None:
        assert read(target, 49_000) == SMALL[49_000:]
        assert read(target, 50_000) == b""


@pytest.mark.servers
@pytest.mark.parametrize("prefix", ["files", "norange", "redirect", "noetag"])
def test_what_nginx_has_changed_is_an_error_with_both_identities(served, prefix):
    uri = f"{served.endpoint}/{prefix}/refs/a%20b.bin"
    target = found(uri)
    (served.root / "refs" / "a b.bin").write_bytes(OTHER)
    now = found(uri)
    for deed in (lambda: source(uri).check(target), lambda: read(target), lambda: read(target, 100)):
        message = refused(ReferenceChanged, deed).message
        word = "Last-Modified" if prefix == "noetag" else "ETag"
        assert message == f"'{uri}' has changed: its {word} is '{now.identity}' now, and was '{target.identity}'"
    (served.root / "refs" / "a b.bin").unlink()
    assert look(uri) is None
    for deed in (lambda: source(uri).check(target), lambda: read(target), lambda: read(target, 100)):
        message = refused(ReferenceMissing, deed).message
        assert message == f"'{uri}' is not there any more: its {word} was '{target.identity}'"


@pytest.mark.servers
@pytest.mark.parametrize("prefix", ["bare", "chunked"])
def test_without_an_identity_only_the_length_can_be_checked(served, prefix):
    uri = f"{served.endpoint}/{prefix}/refs/a%20b.bin"
    target = found(uri)._replace(size=50_000)
    (served.root / "refs" / "a b.bin").write_bytes(OTHER)
    assert read(target) == OTHER
    (served.root / "refs" / "a b.bin").write_bytes(OTHER[:-1])
    error = refused(ReferenceChanged, lambda: read(target))
    assert error.message == f"'{uri}' has changed: it has 49,999 bytes now, and had 50,000"


@pytest.mark.servers
def test_who_may_not_read_is_told_so_and_a_password_helps(served, own_home):
    uri = f"{served.endpoint}/private/refs/a%20b.bin"
    error = refused(RemoteRefused, lambda: look(uri))
    assert error.message.startswith(f"'{uri}' may not be read: the server says 401")
    refused(RemoteRefused, lambda: read(Target(uri, "a", None)))
    refused(RemoteRefused, lambda: look(f"{served.endpoint}/status/403/x"))
    (own_home / ".netrc").write_text("machine 127.0.0.1 login user password pass\n")
    (own_home / ".netrc").chmod(0o600)
    assert read(found(uri)) == SMALL


@pytest.mark.servers
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again_and_then_given_up(served, status):
    uri = f"{served.endpoint}/status/{status}/x"
    for deed in (lambda: look(uri, retries=3), lambda: read(Target(uri, "x", 5, ETAG, "e"), retries=3)):
        before = len(served.seen())
        assert refused(RemoteUnavailable, deed).message.startswith(f"'{uri}' does not answer ({status} ")
        assert len(served.seen()) - before == 3


@pytest.mark.servers
@pytest.mark.parametrize("prefix", ["files", "norange", "noetag", "bare", "chunked"])
def test_connections_that_are_cut_are_gone_on_with(served, fault_proxy: Callable[[str], FaultProxy], prefix):
    """Whether the server takes ranges and tells versions apart or not."""
    path = served.root / "refs" / "large.bin"
    path.write_bytes(DATA)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    proxy = fault_proxy(served.endpoint)
    uri = f"{proxy.endpoint}/{prefix}/refs/large.bin"
    target = found(uri)
    proxy.set(cut_down=1_200_000, cuts=2)
    assert read(target, timeout=5.0, retries=4) == DATA
    assert proxy.set()["counters"]["cut"] == 2
    proxy.set(refuse=True)
    assert refused(RemoteUnavailable, lambda: read(target, timeout=5.0)).message.startswith(f"'{uri}' does not answer")


# ---- servers of other habits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "kind", "identity", "size"),
    [
        (Page(SMALL, '"e1"', OLD), ETAG, "e1", 50_000),
        (Page(SMALL, "e1"), ETAG, "e1", 50_000),
        (Page(SMALL, 'W/"e1"', OLD), WEAK, "e1", 50_000),
        (Page(SMALL, '""', OLD), MODIFIED, OLD, 50_000),
        (Page(SMALL, '"' + "e" * 600 + '"'), None, None, 50_000),
        (Page(SMALL, '"e1"', heads=False), ETAG, "e1", 50_000),
        (Page(SMALL, '"e1"', length=None), ETAG, "e1", None),
        (Page(SMALL, None, OLD, heads=False), MODIFIED, OLD, 50_000),
        (Page(SMALL, heads=False, length=None), None, None, None),
    ],
)
def test_what_is_recorded_of_servers_of_all_habits_is_read_back(web, page, kind, identity, size):
    """A weak ETag is noted as one, what is no identity is not taken for one, HEAD may be refused."""
    web.pages["/a?x=1&y"] = page
    uri = f"{web.place}/a?x=1&y"
    target = found(uri)
    assert target == Target(uri, "a", size, kind, identity)
    source(uri).check(target)
    assert read(target) == SMALL
    assert all(headers.get("Accept-Encoding") == "identity" for _, _, headers in web.seen)


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_server_that_refuses_HEAD_is_asked_with_GET(web, status):
    web.pages["/a"] = Page(SMALL, '"e1"', statuses=[status])
    assert found(f"{web.place}/a").identity == "e1"
    assert [method for method, _, _ in web.seen] == ["HEAD", "GET"]
    web.pages["/a"].statuses = [403, 403]
    refused(RemoteRefused, lambda: look(f"{web.place}/a"))


def test_what_is_not_there_is_none(web):
    assert look(f"{web.place}/a") is None
    web.pages["/a"] = Page(statuses=[410])
    assert look(f"{web.place}/a") is None


def test_a_busy_moment_costs_another_try(web):
    web.pages["/a"] = Page(SMALL, '"e1"', statuses=[500, 0, 503])
    assert read(found(f"{web.place}/a")) == SMALL
    assert [method for method, _, _ in web.seen] == ["HEAD", "HEAD", "GET", "GET"]


def test_the_server_is_asked_for_that_very_version(web):
    """By If-Match with a strong ETag, If-Unmodified-Since with a date; a weak ETag never matches, and is compared."""
    web.pages |= {"/a": Page(SMALL, '"e1"', OLD), "/b": Page(SMALL, None, OLD), "/c": Page(SMALL, 'W/"e1"')}
    targets = [found(f"{web.place}/{name}") for name in "abc"]
    web.seen.clear()
    for target in targets:
        assert read(target) == SMALL
    asked = [{name: headers.get(name) for name in ("If-Match", "If-Unmodified-Since")} for _, _, headers in web.seen]
    assert asked == [
        {"If-Match": '"e1"', "If-Unmodified-Since": None},
        {"If-Match": None, "If-Unmodified-Since": OLD},
        {"If-Match": None, "If-Unmodified-Since": None},
    ]


@pytest.mark.parametrize("conditions", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("start", [0, 40_000])
def test_what_the_server_answers_is_held_against_the_target_before_a_byte(web, conditions, ranges, start):
    """Also where it does not know conditions."""
    for number, (etag, modified) in enumerate([('"e1"', None), (None, OLD)]):
        page = web.pages[f"/{number}"] = Page(SMALL, etag, modified, conditions=conditions, ranges=ranges)
        target = found(f"{web.place}/{number}")
        assert read(target, start) == SMALL[start:]
        page.data = OTHER
        page.etag, page.modified = (None, "Tue, 02 Jan 2024 00:00:00 GMT") if modified else ('W/"e2"', None)
        now = "Last-Modified is 'Tue, 02 Jan 2024 00:00:00 GMT'" if modified else "ETag is 'e2'"
        error = refused(ReferenceChanged, lambda target=target: next(iter(source(target.uri).read(target, start))))
        assert error.message == f"'{target.uri}' has changed: its {now} now, and was '{target.identity}'"
        page.etag = page.modified = None
        error = refused(ReferenceChanged, lambda target=target: next(iter(source(target.uri).read(target, start))))
        assert " has changed: it has no " in error.message


def test_a_server_that_misunderstands_a_condition_is_asked_without(web):
    """Some compare ETags with their quotes missing, or think in other dates."""
    web.pages["/a"] = Page(SMALL, "e1")
    assert read(found(f"{web.place}/a")) == SMALL
    assert [headers.get("If-Match") for method, _, headers in web.seen if method == "GET"] == ['"e1"', None]


def test_parts_that_do_not_say_what_they_are_part_of_are_not_taken(web):
    """The whole file is asked for in their place."""
    web.pages["/a"] = Page(SMALL, '"e1"', part_headers=False)
    assert read(found(f"{web.place}/a"), 40_000) == SMALL[40_000:]


def test_a_server_that_gives_nothing_but_parts_is_not_asked_for_ever(web):
    """Though it was asked for the whole file, and none of them says what it is a part of."""
    page = web.pages["/a"] = Page(SMALL, '"e1"')
    target = found(f"{web.place}/a")
    page.etag, page.status, page.headers = None, 206, {"Content-Range": "bytes 0-49999/50000"}
    assert "it has no ETag now" in refused(ReferenceChanged, lambda: read(target)).message
    assert len(web.seen) < 6


def test_what_a_redirect_says_is_not_waited_for(web):
    """The body of a redirect may have any length: a short one is read, so that the connection serves again."""
    sent = []
    web.pages |= {"/a": Page(b"see there", location="/b"), "/b": Page(SMALL, '"e1"')}
    target = found(f"{web.place}/a")
    assert read(target) == SMALL
    web.pages["/a"].data, web.pages["/a"].at_byte = bytes(32 << 20), (16 << 20, sent.append)
    assert read(target) == SMALL
    assert sent == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"length": 49_999}, "has changed: it has 49,999 bytes now, and had 50,000"),
        ({"length": 50_001}, "has changed: it has 50,001 bytes now, and had 50,000"),
        ({"length": None, "data": SMALL[:-1]}, "has changed: it has 49,999 bytes now, and had 50,000"),
        ({"length": None, "data": SMALL + b"x"}, "has changed: it has more than 50,000 bytes now, and had 50,000"),
    ],
)
def test_a_server_that_lies_about_a_length_is_not_believed(web, change, said):
    """The same ETag, another length: the bytes are counted."""
    page = web.pages["/a"] = Page(SMALL, '"e1"')
    target = found(f"{web.place}/a")
    for name, value in change.items():
        setattr(page, name, value)
    assert said in refused(ReferenceChanged, lambda: read(target)).message


def test_a_length_that_never_comes_is_given_up(web):
    page = web.pages["/a"] = Page(SMALL, '"e1"', length=60_000)
    target = found(f"{web.place}/a")
    page.ranges = False
    error = refused(RemoteUnavailable, lambda: read(target))
    assert error.message == f"'{target.uri}' does not answer (the connection was cut)"


@pytest.mark.parametrize(
    ("headers", "kind", "said"),
    [
        ({"Content-Encoding": "gzip"}, StorageError, "comes compressed"),
        ({"Content-Range": "bytes 0-9/50000"}, StorageError, "another part than was asked for"),
        ({"Content-Range": "bytes"}, StorageError, "another part than was asked for"),
        ({"Content-Range": "bytes 40000-49999/60000"}, ReferenceChanged, "it has 60,000 bytes now, and had 50,000"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_not_taken(web, headers, kind, said):
    page = web.pages["/a"] = Page(SMALL, '"e1"')
    target = found(f"{web.place}/a")
    page.headers = headers
    assert said in refused(kind, lambda: read(target, 40_000)).message


def test_a_file_that_shrank_is_not_gone_on_with(web):
    page = web.pages["/a"] = Page(SMALL, '"e1"')
    target = found(f"{web.place}/a")
    page.data = SMALL[:100]
    assert "it has 100 bytes now" in refused(ReferenceChanged, lambda: read(target, 40_000)).message


def test_nothing_is_listed_over_HTTP(web):
    uri = f"{web.place}/dir/"
    error = refused(StorageError, lambda: source(uri).list(parse_address(uri)))
    assert error.message == f"nothing lists what is below '{uri}': it is served over HTTP"
    assert error.hint.startswith("add a reference to each object")


@pytest.mark.parametrize("identity", ['a"b', "a\r\nX-Evil: 1", "é", "\u202e", ""])
def test_an_identity_that_somebody_made_up_is_no_header(web, identity):
    """A manifest from elsewhere may hold anything."""
    web.pages["/a"] = Page(SMALL, '"e1"', OLD)
    for kind in (ETAG, WEAK, MODIFIED, "generation", "blake3", "\u202e"):
        target = Target(f"{web.place}/a", "a", 50_000, kind, identity)
        error = refused(ReferenceChanged, lambda target=target: read(target))
        assert "\u202e" not in error.message
    assert not any("Evil" in str(headers) for _, _, headers in web.seen)


# ---- files that change meanwhile -------------------------------------------------------------------------------


def _becomes(**change: object) -> Callable[[Page], None]:
    def happens(page: Page) -> None:
        for name, value in change.items():
            setattr(page, name, value)

    return happens


@pytest.mark.parametrize(
    ("etag", "modified", "date"),
    [('"e1"', None, None), (None, OLD, None), ('W/"e1"', OLD, None), (None, OLD, OLD), (None, None, None)],
    ids=["etag", "modified", "weak", "modified-now", "nothing"],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changes_between_two_answers_is_never_a_mixture(web, etag, modified, date, ranges):
    """The connection breaks, and what is asked for the rest has other bytes: nothing of them is given."""
    page = web.pages["/a"] = Page(SMALL, etag, modified, date=date, ranges=ranges)
    target = found(f"{web.place}/a")
    page.cuts, page.at_byte = [20_000], (16_000, _becomes(data=OTHER, etag=etag and '"e2"', modified=None))
    data = b""
    try:
        for piece in source(target.uri).read(target):
            data += piece
    except ReferenceChanged:
        assert SMALL.startswith(data)
    else:  # nothing had come before the connection broke, and nothing was recorded that tells them apart
        assert data == OTHER
        assert target.identity is None


@pytest.mark.parametrize(
    ("etag", "modified", "date"),
    [('"e1"', None, None), (None, OLD, None), ('W/"e1"', OLD, None), (None, OLD, OLD), (None, None, None)],
    ids=["etag", "modified", "weak", "modified-now", "nothing"],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_stays_is_gone_on_with_whatever_its_validator(web, etag, modified, date, ranges):
    """By its range where equal validators mean equal bytes; else from its beginning, compared with what came before."""
    page = web.pages["/a"] = Page(SMALL, etag, modified, date=date, ranges=ranges)
    target = found(f"{web.place}/a")
    web.seen.clear()
    page.cuts = [20_000]
    assert read(target) == SMALL
    strong = etag == '"e1"' or (etag is None and modified is not None and date is None)
    assert [headers.get("Range") for _, _, headers in web.seen[:2]] == [None, "bytes=20000-" if strong else None]


def test_a_change_behind_an_unchanged_validator_is_noticed_where_the_bytes_are_compared(web):
    """A weak ETag, and the beginning is another: an error, though ETag and length are the same."""
    page = web.pages["/a"] = Page(SMALL, 'W/"e1"')
    target = found(f"{web.place}/a")
    page.cuts, page.at_byte = [20_000], (16_000, _becomes(data=OTHER))
    error = refused(ReferenceChanged, lambda: read(target))
    assert error.message == f"'{target.uri}' has changed while it was read: it does not begin as it did"


def test_a_large_file_that_is_written_in_place_is_looked_at_once_more(web):
    """An answer goes on under the old ETag while the file changes: at its end the server is asked again."""
    page = web.pages["/a"] = Page(DATA, '"e1"')
    target = found(f"{web.place}/a")
    assert read(target) == DATA
    page.at_byte = (2_000_000, _becomes(etag='"e2"'))
    assert "its ETag is 'e2' now" in refused(ReferenceChanged, lambda: read(target)).message
    page.etag, page.at_byte = '"e1"', (2_000_000, lambda _: web.pages.clear())
    refused(ReferenceMissing, lambda: read(target))


def test_a_read_is_not_gone_on_with_where_nothing_tells_versions_apart(web):
    for etag in ('W/"e1"', None):
        web.pages["/a"] = Page(SMALL, etag)
        target = found(f"{web.place}/a")
        error = refused(StorageError, lambda target=target: read(target, 1))
        assert "does not tell versions apart" in error.message


# ---- where requests go (protocol H4) ---------------------------------------------------------------------------


def test_a_private_address_has_to_be_named(web):
    """Whatever name leads to it; nothing is sent there."""
    web.pages["/a"] = Page(SMALL, '"e1"')
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0"):
        uri = f"http://{host}:{web.server_port}/a"
        error = refused(ReferenceRefused, lambda uri=uri: open_source(parse_address(uri), RemoteOptions()).look(
            parse_address(uri)
        ))  # fmt: skip
        assert " is private, and nobody here named it" in error.message
        assert error.message.startswith(f"'{uri}': 'http://{host}:{web.server_port}' is not asked: its address ")
    assert web.seen == []


def test_a_redirect_to_a_private_address_has_to_be_named_too(web):
    web.pages |= {"/a": Page(location=f"{web.other_name}/b"), "/b": Page(SMALL, '"e1"')}
    uri = f"{web.place}/a"
    error = refused(ReferenceRefused, lambda: look(uri))
    assert f"'{web.other_name}' is not asked" in error.message
    assert error.hint == f"if that is meant, add {web.other_name} to the list of setting refs.allow"
    assert [path for _, path, _ in web.seen] == ["/a"]
    target = source(uri, web.other_name).look(parse_address(uri))
    assert target == Target(uri, "a", 50_000, ETAG, "e1")
    assert b"".join(source(uri, web.other_name).read(target)) == SMALL


def test_redirects_in_circles_and_out_of_HTTP_are_not_followed(web):
    web.pages |= {
        "/loop": Page(location="/loop"),
        "/file": Page(location="file:///etc/passwd"),
        "/secret": Page(location="ftp://user:geheim@h/x?sig=geheim"),
    }
    assert "is redirected without end" in refused(StorageError, lambda: look(f"{web.place}/loop")).message
    assert "'file:///etc/passwd', which" in refused(StorageError, lambda: look(f"{web.place}/file")).message
    assert "'ftp://h/x', which" in refused(StorageError, lambda: look(f"{web.place}/secret")).message


def test_a_password_goes_to_its_host_alone(web, own_home):
    """Not to where that host redirects, and what is there for any host goes nowhere."""
    (own_home / ".netrc").write_text(
        "machine 127.0.0.1 login user password geheim\ndefault login other password geheimer\n"
    )
    (own_home / ".netrc").chmod(0o600)
    web.pages |= {"/a": Page(location=f"{web.other_name}/b"), "/b": Page(SMALL, '"e1"')}
    uri = f"{web.place}/a"
    assert source(uri, web.other_name).look(parse_address(uri))
    assert ["Authorization" in headers for _, _, headers in web.seen] == [True, False]


def test_the_address_that_was_judged_is_the_one_that_is_asked(web, monkeypatch):
    """A name that stands for another address the next moment, or for a private one besides, gains nothing."""
    answers = [["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]]
    monkeypatch.setattr("artifactvc.storage.judged._addresses", lambda host, port: answers.pop(0))
    address = parse_address(f"http://rebinding.example:{web.server_port}/a")
    with pytest.raises(RuntimeError, match=r"8\.8\.8\.8"):  # no test reaches it
        open_source(address, RemoteOptions()).look(address)
    assert web.seen == []


def test_behind_a_proxy_hosts_are_judged_before_it_is_asked(web, monkeypatch):
    """The proxy itself may be private; a host whose address only the proxy knows has to be named."""
    monkeypatch.setenv("http_proxy", web.place)
    monkeypatch.setenv("no_proxy", "")
    page = Page(SMALL, '"e1"')
    for host, said in (("127.0.0.1:1", "is private"), ("intranet.invalid", "only to the proxy")):
        web.pages[f"http://{host}/a"] = page
        address = parse_address(f"http://{host}/a")
        web.seen.clear()
        error = refused(ReferenceRefused, lambda a=address: open_source(a, RemoteOptions()).look(a))
        assert said in error.message
        assert web.seen == []
        assert source(address.uri).look(address) == Target(address.uri, "a", 50_000, ETAG, "e1")
        assert [path for _, path, _ in web.seen] == [address.uri]
