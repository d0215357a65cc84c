"""Options that components declare: flags, checks and records."""

import argparse

import pytest

from insight.errors import InsightError
from insight.options import Option, declared, differences, given, settle

WIDTH = Option("wide_by", 64, "channels of the stem", choices=(32, 64))
MODE = Option("mode", "a", "what comes first")
STRICT = Option("strict", False, "raise at the first fault")
NARROW = Option("wide_by", 32, "channels of the stem", choices=(16, 32))


def both():
    return declared([("one", (WIDTH, STRICT)), ("two", (NARROW, MODE))])


def parsed(*argv):
    parser = argparse.ArgumentParser()
    for option in both():
        option.add_to(parser)
    return vars(parser.parse_args(argv))


def test_one_flag_for_a_name_with_no_default_where_the_components_differ():
    options = {option.name: option for option in both()}
    assert list(options) == ["wide_by", "strict", "mode"]
    assert options["wide_by"] == Option("wide_by", None, "channels of the stem", int, (32, 64, 16))
    assert parsed() == {"wide_by": None, "strict": False, "mode": "a"}
    assert parsed("--wide-by", "16", "--strict", "--mode", "b") == {"wide_by": 16, "strict": True, "mode": "b"}


def test_helps_that_differ_stand_side_by_side():
    (option,) = declared([("one", (MODE,)), ("two", (MODE,)), ("three", (Option("mode", "a", "how"),))])
    assert (option.help, option.default) == ("what comes first; how", "a")


def test_one_name_has_one_type():
    with pytest.raises(InsightError, match="--mode: one and two declare it with different types; rename one"):
        declared([("one", (MODE,)), ("two", (Option("mode", 1, "how"),))])


def test_a_component_gets_its_own_values_and_refuses_what_it_would_ignore():
    assert settle((WIDTH, MODE), given(both(), parsed()), "y9") == {"wide_by": 64, "mode": "a"}
    assert settle((WIDTH,), {"wide_by": 32, "mode": None}, "y9") == {"wide_by": 32}
    with pytest.raises(InsightError, match=r"^--mode b: does nothing with y9, which uses --wide-by; leave it out$"):
        settle((WIDTH,), given(both(), parsed("--mode", "b")), "y9")
    with pytest.raises(InsightError, match=r"^--wide-by 16: does nothing with y9, which uses no such options; leave"):
        settle((), given(both(), parsed("--wide-by", "16")), "y9")


def test_numbers_are_finite_and_switches_have_no_value_in_messages():
    share = Option("share", 0.5, "share")
    for value in (float("inf"), float("nan")):
        with pytest.raises(InsightError, match=f"^--share {value}: must be a finite number$"):
            settle((share,), {"share": value}, "y9")
    with pytest.raises(InsightError, match=r"^--strict: does nothing with y9, which uses --share; leave it out$"):
        settle((share,), {"strict": True}, "y9")


def test_choices_are_the_component_s():
    with pytest.raises(InsightError, match=r"^--wide-by 16: is not known; y9 takes 32, 64$"):
        settle((WIDTH,), {"wide_by": 16}, "y9")
    with pytest.raises(InsightError, match=r"^--wide-by 16: is too slow; y9 takes 32, 64$"):
        settle((WIDTH,), {"wide_by": 16}, "y9", {("wide_by", 16): "is too slow"})


def test_a_resumed_run_has_the_same_values():
    earlier = {"wide_by": "", "mode": "a"}  # of a version that wrote "" for None, before strict was declared
    assert differences(both(), parsed(), earlier) == []
    assert differences(both(), parsed("--wide-by", "16", "--strict"), earlier) == [
        "--wide-by 16 (was None)",
        "--strict True (was False)",
    ]
