"""Names: what may be called what, and how versions are written (design, section 1)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core import names
from artifactvc.core.names import Ref
from artifactvc.errors import BadName

ARTIFACT_HINT = (
    "use 1 to 128 ASCII letters, digits, '_', '-' or '.', not beginning with '.' or '-', not ending with '.'"
)
PROJECT_HINT = "use 1 to 128 characters without / \\ # ? % : and control characters"
REF_HINT = "write NAME:v3, NAME:alias or NAME@digest"


def refused(call, text: str) -> tuple[str, str]:
    """Message and hint of the refusal of *text*; every one is a wrong use, exit code 2, and a ValueError."""
    with pytest.raises(BadName) as caught:
        call(text)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2
    return caught.value.message, caught.value.hint


# ---- artifacts, projects, types, remotes --------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A", "0", "_", "a.b", "_x-y.z9", "a-", "x" * 128, "v3", "a" * 64])
def test_artifact_names_that_may_be(name):
    """ASCII letters, digits, `_ - .`, 1 to 128: returned as they are."""
    assert names.check_artifact_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "a.", "a b", "a/b", "a:b", "a@b", "é", "a\n", "\na", "a\0", "x" * 129, "a\\b", "ａ"],
)
def test_artifact_names_that_may_not(name):
    """Anything else is refused with the rule as the hint."""
    assert refused(names.check_artifact_name, name) == (f"bad artifact name '{name}'", ARTIFACT_HINT)


def test_a_long_bad_name_is_cut_in_its_message():
    """A message stays one line, however long what it complains of."""
    assert refused(names.check_artifact_name, "x" * 1000)[0] == f"bad artifact name '{'x' * 140}'"
    assert refused(names.check_project, "x" * 1000)[0] == f"bad project name '{'x' * 140}'"
    assert refused(names.check_type, "x" * 1000)[0] == f"bad type '{'x' * 140}'"
    assert refused(names.check_alias, "x" * 1000)[0] == f"bad alias '{'x' * 140}'"
    assert refused(names.check_tag, "x" * 1000)[0] == f"bad tag '{'x' * 140}'"
    assert refused(names.check_remote_name, "x" * 1000)[0] == f"bad remote name '{'x' * 80}'"


@pytest.mark.parametrize("project", ["p", "My project", "é漢", "a.b", "...", "-", "x" * 128, "a@b", "漢" * 128])
def test_projects_that_may_be(project):
    """Nearly everything is a project's name."""
    assert names.check_project(project) == project


@pytest.mark.parametrize(
    "project",
    ["", ".", "..", "x" * 129, *(f"a{c}b" for c in "/\\#?%:\n\0\t\x7f\x85\udc80")],
)
def test_projects_that_may_not(project):
    """Empty, too long, a step in a path, or with a character that addresses need."""
    assert refused(names.check_project, project) == (f"bad project name '{project}'", PROJECT_HINT)


@pytest.mark.parametrize("kind", ["run_table", "code", "job", "wandb-history", "wandb-", "avc-", "avc-anything"])
def test_generated_types_are_reserved(kind):
    """Types that programs make are not given by people."""
    assert refused(names.check_type, kind) == (
        f"type '{kind}' is reserved",
        "choose another type, such as 'dataset' or 'model'",
    )


def test_other_types():
    """Any other text without control characters is a type."""
    for kind in ("dataset", "model", "a b", "jobs", "avc", "é", "x" * 128):
        assert names.check_type(kind) == kind
    for kind in ("", "x" * 129, "a\nb", "a\x00", "\udc80"):
        assert refused(names.check_type, kind) == (
            f"bad type '{kind}'",
            "use 1 to 128 characters without control characters",
        )


def test_remote_names():
    """A remote's name is short and is never a path or an option."""
    for name in ("origin", "_", "a.b-c", "x" * 64):
        assert names.check_remote_name(name) == name
    for name in ("", "-a", ".a", "a.", "a/b", "a b", "x" * 65, "é", "a\n"):
        assert refused(names.check_remote_name, name) == (
            f"bad remote name '{name}'",
            "use 1 to 64 letters, digits, '_', '-' or '.'",
        )


# ---- aliases and tags ---------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["v3", "v0", "v03", "v3~", "v03~", "v123456789012345678901234567890"])
def test_an_alias_is_no_version_number(alias):
    """`v` and digits always mean a number, also with the mark of a provisional one."""
    assert refused(names.check_alias, alias) == (
        f"'{alias}' cannot be an alias: it looks like a version number",
        "choose another word",
    )


def test_an_alias_is_no_digest():
    """64 hex digits always mean content."""
    assert refused(names.check_alias, "0a" * 32) == (
        f"'{'0a' * 32}' cannot be an alias: it looks like a digest",
        "choose another word",
    )


@pytest.mark.parametrize("alias", ["", " ", "a/b", "a:b", "a@b", "x" * 129, "\u3000"])
def test_an_alias_can_be_written_behind_a_colon(alias):
    """What would end or split a written version is refused, and so is nothing at all."""
    assert refused(names.check_alias, alias) == (
        f"bad alias '{alias}'",
        "use 1 to 128 characters without '/', ':' and '@'",
    )


@pytest.mark.parametrize("alias", ["a\nb", "\x1b[31m", "a\x00", "a\udc80"])
def test_an_alias_has_no_control_characters(alias):
    """They are refused; whoever prints the message escapes it."""
    assert refused(names.check_alias, alias) == (f"bad alias '{alias}'", "an alias has no control characters")


@pytest.mark.parametrize("alias", ["latest", "v", "v3a", "V3", "v-3", "best ap 50", "é", "0a" * 31, "v٣", "x" * 128])
def test_aliases_that_may_be(alias):
    """Other words are aliases, `V3` and near-digests included."""
    assert names.check_alias(alias) == alias


def test_tags():
    """A tag is words of letters, digits, `_` and `-`."""
    for tag in ("a", "train set", "é_1-b", "x" * 128):
        assert names.check_tag(tag) == tag
    for tag in ("", " a", "a ", "a.b", "a:b", "a/b", "a\nb", "x" * 129, "a\n"):
        assert refused(names.check_tag, tag) == (
            f"bad tag '{tag}'",
            "use letters, digits, '_' and '-', words parted by single spaces",
        )


def test_the_words_of_a_tag_are_parted_by_single_spaces():
    """The rule is the one that the hint tells."""
    assert refused(names.check_tag, "a  b")[0] == "bad tag 'a  b'"


# ---- versions as written ------------------------------------------------------------------------

HEX = "9f2c41d"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("cnn", Ref(None, None, "cnn")),
        ("cnn:v3", Ref(None, None, "cnn", number=3)),
        ("cnn:v0", Ref(None, None, "cnn", number=0)),
        ("cnn:v4~", Ref(None, None, "cnn", number=4)),
        ("cnn:latest", Ref(None, None, "cnn", alias="latest")),
        ("cnn:best ap", Ref(None, None, "cnn", alias="best ap")),
        (f"cnn@{HEX}", Ref(None, None, "cnn", digest=HEX)),
        (f"cnn@{'0a' * 32}", Ref(None, None, "cnn", digest="0a" * 32)),
        ("demo/cnn:v3", Ref(None, "demo", "cnn", number=3)),
        ("ada/demo/cnn:v3", Ref("ada", "demo", "cnn", number=3)),
        ("ada/My demo/cnn", Ref("ada", "My demo", "cnn")),
        (f"ada/demo/cnn@{HEX}", Ref("ada", "demo", "cnn", digest=HEX)),
        # Two parts are always project and name; a name may look like a number, and be called like one.
        ("v3:v3", Ref(None, None, "v3", number=3)),
        ("v3/v3", Ref(None, "v3", "v3")),
    ],
)
def test_versions_as_written(text, ref):
    """`[[entity/]project/]name`, then a number, an alias, a digest prefix, or nothing."""
    assert names.parse_ref(text) == ref
    assert names.parse_ref(text).bare == (text in ("cnn", "ada/My demo/cnn", "v3/v3"))


@pytest.mark.parametrize("text", ["cnn:", "cnn:a/b", "cnn:a:b", "a/b/c:"])
def test_a_version_needs_a_selector_behind_the_colon(text):
    """Nothing, or what no alias can be, is refused."""
    assert refused(names.parse_ref, text) == (f"bad version '{text}'", REF_HINT)


@pytest.mark.parametrize("digest", ["", "9f2c41", "9F2C41D", "0" * 65, "9f2c41g", "9f2c41d\n", "v3"])
def test_a_digest_prefix_has_7_to_64_lower_case_digits(digest):
    """Shorter ones mean too much, longer ones nothing."""
    assert refused(names.parse_ref, f"cnn@{digest}") == (
        f"bad digest '{digest}' in 'cnn@{digest}'",
        "give 7 to 64 lower-case hex digits",
    )


def test_the_parts_of_a_version_obey_their_rules():
    """A refusal names the part that is wrong."""
    assert refused(names.parse_ref, "") == ("bad artifact name ''", ARTIFACT_HINT)
    assert refused(names.parse_ref, ":v3") == ("bad artifact name ''", ARTIFACT_HINT)
    assert refused(names.parse_ref, "demo/:v3") == ("bad artifact name ''", ARTIFACT_HINT)
    assert refused(names.parse_ref, "-rf:v3") == ("bad artifact name '-rf'", ARTIFACT_HINT)
    assert refused(names.parse_ref, "../cnn:v3") == ("bad project name '..'", PROJECT_HINT)
    assert refused(names.parse_ref, "a/b/c/d:v3") == (
        "too many parts in 'a/b/c/d:v3'",
        "write [[entity/]project/]name[:version]",
    )


def test_an_entity_is_not_empty():
    """`/demo/cnn` is a slip, not an artifact of nobody: its text would come back as another."""
    hint = "write [[entity/]project/]name[:version]"
    for path in ("/cnn", "/demo/cnn"):
        assert refused(names.parse_artifact, path) == (f"bad name '{path}'", hint)
        assert refused(names.parse_ref, f"{path}:v3") == (f"bad name '{path}:v3'", hint)


def test_a_project_with_an_at_sign_can_be_written():
    """A name that `check_project` lets in can be named: the last `@` parts off the digest."""
    for text in (f"a@b/cnn@{HEX}", f"ada/a@b/cnn@{HEX}", "a@b/cnn:v3"):
        assert names.parse_ref(text).project == "a@b"


def test_a_project_with_an_at_sign_needs_no_selector():
    """Also where nothing follows the name, and where only an artifact is meant."""
    assert names.parse_ref("a@b/cnn") == Ref(None, "a@b", "cnn")
    assert names.parse_artifact("a@b/cnn") == (None, "a@b", "cnn")


def test_artifacts_as_written():
    """Where an artifact is meant, a version is refused."""
    assert names.parse_artifact("cnn") == (None, None, "cnn")
    assert names.parse_artifact("demo/cnn") == (None, "demo", "cnn")
    assert names.parse_artifact("ada/demo/cnn") == ("ada", "demo", "cnn")
    for text in ("cnn:v3", "demo/cnn:latest", f"cnn@{HEX}"):
        assert refused(names.parse_artifact, text) == (
            f"'{text}' names a version where an artifact is meant",
            "leave out what follows the name",
        )


_PARTS = st.text(st.characters(exclude_characters="/\\#?%:", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=9)
_NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,10}[A-Za-z0-9_\-]", fullmatch=True) | st.just("a")
_PROJECTS = _PARTS.filter(lambda part: part not in (".", ".."))
_ALIASES = _PARTS.filter(
    lambda part: part.strip() and "@" not in part and not (part[0] == "v" and part[1:].rstrip("~").isdecimal())
)
_SELECTORS = st.one_of(
    st.builds(lambda number: {"number": number}, st.integers(0, 10**15 - 1)),
    st.builds(lambda alias: {"alias": alias}, _ALIASES),
    st.builds(lambda digest: {"digest": digest}, st.text("0123456789abcdef", min_size=7, max_size=64)),
)


@st.composite
def refs(draw) -> Ref:
    """A version that can be written; an entity only before a project."""
    project = draw(st.none() | _PROJECTS)
    entity = draw(st.none() | _PARTS) if project else None
    return Ref(entity, project, draw(_NAMES), **draw(_SELECTORS))


@given(refs())
def test_a_version_comes_back_from_its_text(ref):
    """What is shown can be typed."""
    assert names.parse_ref(str(ref)) == ref


@given(refs())
def test_a_bare_name_is_shown_as_latest(ref):
    """A bare `name` means `name:latest`, and its text says so."""
    bare = ref._replace(number=None, alias=None, digest=None)
    assert bare.bare
    assert names.parse_ref(str(bare)) == bare._replace(alias="latest")


@given(st.text(max_size=30) | st.text("ab/:@v3~.-avc", max_size=14).map("avc://".__add__))
@example("v" + "9" * 5000)
@example("avc://:/")
def test_any_text_is_a_name_or_refused(text):
    """Whatever is typed, the answer is a value or BadName, and a version is said in one way only."""
    for call in (
        names.check_artifact_name, names.check_project, names.check_alias, names.check_tag, names.check_type,
        names.check_remote_name, names.parse_artifact, names.parse_file_uri,
    ):  # fmt: skip
        with contextlib.suppress(BadName):
            call(text)
    with contextlib.suppress(BadName):
        ref = names.parse_ref(text)
        assert sum(part is not None for part in (ref.number, ref.alias, ref.digest)) == (0 if ref.bare else 1)


# ---- files, made names, numbers -----------------------------------------------------------------


def test_files_as_written():
    """`avc://[project/]name:v3/path`; the path may hold colons and at signs."""
    assert names.parse_file_uri("avc://cnn:v3/model.pt") == (Ref(None, None, "cnn", number=3), "model.pt")
    assert names.parse_file_uri("avc://demo/cnn:best/a/b:c@d") == (Ref(None, "demo", "cnn", alias="best"), "a/b:c@d")
    assert names.parse_file_uri("avc://ada/demo/cnn:v3/x")[0] == Ref("ada", "demo", "cnn", number=3)


@pytest.mark.parametrize("uri", ["avc://cnn:v3", "avc://cnn:v3/", "avc://cnn/model.pt", "avc://", "avc://cnn:/"])
def test_a_file_needs_version_and_path(uri):
    """A version without a path, or a path without a version, is no file."""
    assert refused(names.parse_file_uri, uri) == (
        f"'{uri}' names no file of a version",
        "write avc://[project/]name:v3/path",
    )


@pytest.mark.parametrize("uri", ["", "cnn:v3/x", "avc:cnn:v3/x", "s3://bucket/x", "AVC://cnn:v3/x", "avc:/cnn:v3/x"])
def test_other_schemes_are_no_files_of_versions(uri):
    """Only `avc://` is."""
    assert refused(names.parse_file_uri, uri) == (f"'{uri}' is not an avc:// reference", "")


def test_names_made_from_paths():
    """Characters that a name cannot have become one `-`; a text of nothing else is refused as it is."""
    assert names.artifact_name_from("my data") == "my-data"
    assert names.artifact_name_from("..my  dätä x..") == "my-d-t-x"
    assert names.artifact_name_from("-.-x.") == "x"
    assert names.artifact_name_from("x" * 200) == "x" * 128
    assert refused(names.artifact_name_from, "漢字") == ("bad artifact name '漢字'", ARTIFACT_HINT)


@given(st.text("aé. -_/", max_size=12) | st.text(max_size=12))
def test_a_made_name_is_a_name(text):
    """Where one ASCII letter or digit is to be found, a name can be made."""
    if any(c.isascii() and c.isalnum() for c in text):
        made = names.artifact_name_from(text)
        assert names.check_artifact_name(made) == made


def test_a_long_made_name_does_not_end_with_a_dot():
    """A cut at 128 leaves a name."""
    assert names.artifact_name_from("a" * 127 + ".tar.gz") == "a" * 127


def test_numbers_are_shown_provisional():
    """`v4~` until the log that gives numbers has given it, and both are read back."""
    assert names.shown_number(4, provisional=True) == "v4~"
    assert names.shown_number(4, provisional=False) == "v4"
    for provisional in (True, False):
        assert names.parse_ref("cnn:" + names.shown_number(4, provisional=provisional)).number == 4
