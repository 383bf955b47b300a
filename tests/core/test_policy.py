"""What a retention policy keeps: a property for each rule, and that it never takes everything."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.policy import Member, Policy, check_policy, decide, policy_of, policy_words
from artifactvc.errors import BadName, BadValue
from artifactvc.util.text import format_time, parse_time

NOW = parse_time("2026-06-01T00:00:00.000000Z")

members = st.lists(
    st.builds(
        Member,
        st.integers(0, 30),
        st.integers(0, 100).map(lambda days: format_time(NOW - timedelta(days=days))),
        st.lists(st.sampled_from(["latest", "best"]), max_size=2, unique=True).map(tuple),
        st.lists(st.just("t"), max_size=1).map(tuple),
        st.none() | st.sampled_from(["none", "400d"]),
        st.booleans(),
    ),
    min_size=1, max_size=12, unique_by=lambda member: member.number,
)  # fmt: skip
policies = st.builds(
    Policy,
    st.none() | st.integers(1, 5),
    st.none() | st.integers(1, 90).map("{}d".format),
    st.booleans(),
    st.booleans(),
)


@given(policies, members)
def test_each_rule_keeps_what_it_says_and_nothing_else_stays(policy, found):
    """The rules add up; the newest, `latest`, a time of its own and what is stood on stay by themselves."""
    order = sorted((m.number for m in found), reverse=True)
    for member, decision in zip(found, decide(policy, "dataset", found, NOW), strict=True):
        age = NOW - parse_time(member.created)
        wanted = (
            policy == Policy()
            or member.number == order[0]
            or "latest" in member.aliases
            or member.ttl is not None
            or member.held
            or (policy.keep_last is not None and member.number in order[: policy.keep_last])
            or (policy.keep_within is not None and age < timedelta(days=int(policy.keep_within[:-1])))
            or (policy.keep_aliased and "best" in member.aliases)
            or (policy.keep_tagged and bool(member.tags))
        )
        assert decision.keep is wanted
        assert decision.number == member.number
        assert decision.why, "every decision has a reason"


@given(policies, members)
def test_what_was_decided_stays_decided(policy, found):
    """What is left after a policy was carried out is left by it again, at the same moment."""
    kept = {d.number for d in decide(policy, "dataset", found, NOW) if d.keep}
    left = [m for m in found if m.number in kept]
    assert all(d.keep for d in decide(policy, "dataset", left, NOW))


@given(members, st.sampled_from(["code", "job", "run_table", "wandb-history", "avc-x"]))
def test_what_tools_make_is_left_alone(found, kind):
    """Whatever the rules."""
    assert all(d.keep for d in decide(Policy(keep_last=1), kind, found, NOW))


@pytest.mark.parametrize(
    "value", [{"keep_last": 0}, {"keep_last": True}, {"keep_last": "2"}, {"keep_hourly": 3}, {"keep_within": "soon"},
              {"keep_within": "0s"}, {"keep_tagged": 1}, [], "x"],
)  # fmt: skip
def test_what_is_not_understood_ends_nothing(value):
    """A rule of a newer avc, and a hostile value: every version stays."""
    assert policy_of(value) is None
    assert policy_words(value) == "rules of a newer avc"
    found = [Member(number, format_time(NOW)) for number in range(3)]
    assert all(d.keep and d.why == ("the policy was made by a newer avc",) for d in decide(None, "dataset", found, NOW))


@given(policies)
def test_records_hold_a_policy_exactly(policy):
    """What is written is what is read."""
    assert policy_of(policy.record()) == policy


def test_a_policy_that_keeps_nothing_is_refused():
    """As by restic: `--keep-last 0` is not taken for a way to delete all."""
    with pytest.raises(BadValue, match="must keep at least the last 1"):
        check_policy(Policy(keep_last=0))
    with pytest.raises(BadValue, match="within no time"):
        check_policy(Policy(keep_within="0d"))
    with pytest.raises(BadName, match="bad duration"):
        check_policy(Policy(keep_within="soon"))
