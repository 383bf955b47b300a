"""Which versions of an artifact a retention policy keeps: a decision on values, with every reason, taken before
anything is deleted (design, section 5).

The manners are those of restic's ``forget``: a policy says what to keep, rules add up, and no policy
keeps nothing. Beyond its rules some versions always stay: the newest, what ``latest`` names, what has
a time to live of its own (the more exact word of the two, "none" included), and what the
workspace stands on. What cannot be understood, as of a newer avc or a hostile log, ends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from artifactvc.core.retention import is_generated
from artifactvc.errors import BadName, BadValue
from artifactvc.util.text import format_days, parse_duration, parse_time

_MOST: Final = 1_000_000_000


class Policy(NamedTuple):
    """Rules, each of which keeps versions; without any all stay."""

    keep_last: int | None = None
    keep_within: str | None = None  # such as "30d", counted back from now
    keep_aliased: bool = False
    keep_tagged: bool = False

    def record(self) -> dict[str, Any]:
        """The same as records have it: only the rules that are set."""
        return {name: value for name, value in self._asdict().items() if value}

    def words(self) -> str:
        """The same for people: "keep the last 5, what has an alias"."""
        rules = [f"the last {self.keep_last}"] * bool(self.keep_last)
        rules += [f"what was created within {self.keep_within}"] * bool(self.keep_within)
        rules += ["what has an alias"] * self.keep_aliased + ["what has a tag"] * self.keep_tagged
        return f"keep {', '.join(rules)}" if rules else "keep everything"


def check_policy(policy: Policy) -> Policy:
    """*policy*, if it can be meant: BadValue for one that would keep nothing, BadName for a bad span."""
    if policy.keep_last is not None and not 1 <= policy.keep_last <= _MOST:
        raise BadValue("a policy must keep at least the last 1", hint="to delete an artifact whole: 'avc delete'")
    if policy.keep_within is not None and parse_duration(policy.keep_within) <= timedelta(0):
        raise BadValue("a policy cannot keep what was created within no time", hint="write a span such as 30d")
    return policy


def policy_of(value: object) -> Policy | None:
    """The policy that a record sets; None for one that this avc does not understand whole, by which nothing goes."""
    if not isinstance(value, Mapping) or not set(value) <= set(Policy._fields):
        return None
    last, within = value.get("keep_last"), value.get("keep_within")
    flags = value.get("keep_aliased", False), value.get("keep_tagged", False)
    if not (last is None or type(last) is int) or not (within is None or isinstance(within, str)):
        return None
    if not all(isinstance(flag, bool) for flag in flags):
        return None
    try:
        return check_policy(Policy(last, within, *flags))
    except (BadName, BadValue):
        return None


def policy_words(value: object) -> str:
    """What a record sets, for people."""
    policy = policy_of(value)
    return "none" if value is None else "rules of a newer avc" if policy is None else policy.words()


class Member(NamedTuple):
    """One live version, as far as a policy looks at it."""

    number: int
    created: str
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ttl: str | None = None  # its own
    held: bool = False  # the workspace here, or a draft, stands on it


class Decision(NamedTuple):
    """Whether one version stays, and every reason for it."""

    number: int
    keep: bool
    why: tuple[str, ...]


def decide(policy: Policy | None, kind: str, members: Sequence[Member], now: datetime) -> list[Decision]:
    """What becomes of the live versions *members* of an artifact of type *kind*, in their order.

    Always at least the newest stays. *policy* is None where it is not understood.
    """
    order = sorted((member.number for member in members), reverse=True)
    place = {number: position for position, number in enumerate(order)}
    decisions = []
    for member in members:
        if policy is None:
            why = ["the policy was made by a newer avc"]
        elif not policy.record():
            why = ["the policy keeps everything"]
        elif is_generated(kind):
            why = [f"what tools make is left alone (type '{kind}')"]
        else:
            why = _kept(policy, member, place[member.number], now)
        decisions.append(Decision(member.number, bool(why), tuple(why) or _gone(policy, member, now)))
    return decisions


def _kept(policy: Policy, member: Member, place: int, now: datetime) -> list[str]:
    why = ["the newest"] * (place == 0)
    why += ["'latest' names it"] * ("latest" in member.aliases)
    if policy.keep_last is not None and 0 < place < policy.keep_last:
        why.append(f"one of the last {policy.keep_last}")
    others = [alias for alias in member.aliases if alias != "latest"]
    if policy.keep_aliased and others:
        why.append(f"alias '{others[0]}'")
    if policy.keep_tagged and member.tags:
        why.append(f"tag '{member.tags[0]}'")
    if policy.keep_within is not None:
        try:
            if now - parse_time(member.created) < parse_duration(policy.keep_within):
                why.append(f"created within {policy.keep_within}")
        except BadName:  # a log from elsewhere does not say when
            why.append("nobody knows when it was created")
    if member.ttl is not None:
        why.append(f"its own time to live ({member.ttl})")
    if member.held:
        why.append("the workspace stands on it")
    return why


def _gone(policy: Policy | None, member: Member, now: datetime) -> tuple[str, ...]:
    """Why no rule of *policy* keeps it, rule by rule."""
    if policy is None:
        return ()
    why = [f"not one of the last {policy.keep_last}"] if policy.keep_last else []
    if policy.keep_within:
        why.append(f"{format_days((now - parse_time(member.created)).total_seconds())} old")
    return (*why, *["no alias"] * policy.keep_aliased, *["no tag"] * policy.keep_tagged)


#: Before the artifact's id, or the project's name, in the table ``setting``.
ROW: Final = "retention:"


def policy_row(artifact: str | None, project: str | None) -> str:
    """The name of the row that keeps an artifact's own policy, or the default of a project."""
    return f"{ROW}artifact:{artifact}" if artifact is not None else f"{ROW}project:{project}"
