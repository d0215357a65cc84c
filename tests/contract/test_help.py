"""`insight COMMAND --help` of every command: short usage, arguments in groups, and two examples or more that parse."""

import shlex

import pytest

from insight import cli

COMMANDS = cli.command_names()
OWN = {"options", "optional arguments", "positional arguments"}  # argparse's groups
LARGEST = 24  # arguments of a group


def groups(name):
    """{title: arguments} of the groups that have any."""
    return {
        group.title: group._group_actions for group in cli.build_parser(name)._action_groups if group._group_actions
    }


@pytest.mark.parametrize("name", COMMANDS)
class TestHelp:
    def test_every_argument_is_in_a_group(self, name):
        loose = {action.dest for title, actions in groups(name).items() if title in OWN for action in actions}
        assert loose == {"help"}

    def test_groups_are_short_and_named_once(self, name):
        parser = cli.build_parser(name)
        titles = [group.title for group in parser._action_groups if group._group_actions]
        assert len(titles) == len(set(titles))
        assert all(
            title == title.strip().rstrip(":.") and not title[0].isupper() for title in titles if title not in OWN
        )
        assert {title: len(actions) for title, actions in groups(name).items() if len(actions) > LARGEST} == {}

    def test_the_usage_is_what_a_command_needs(self, name):
        parser = cli.build_parser(name)
        usage = parser.format_help().partition("\n\n")[0]
        assert usage.startswith(f"usage: insight {name} ") and usage.endswith("[options]")
        needed = [action for action in parser._actions if action.required and action.option_strings]
        for action in needed:
            assert action.option_strings[0] in usage
        assert usage.count("--") == len(needed) + sum(
            len(group._group_actions) for group in parser._mutually_exclusive_groups if group.required
        )

    def test_two_examples_run_it(self, name):
        examples = cli.load(name).EXAMPLES
        assert len({command for _, command in examples}) >= 2
        for comment, command in examples:
            assert comment[0] != "#" and not comment.endswith(".") and not {"`", "\n"} & set(comment)
            words = shlex.split(command)
            words = words[: next((i for i, word in enumerate(words) if word in "|>"), None)]
            assert words[:2] == ["insight", name]
            cli.build_parser(name).parse_args(words[2:])

    def test_they_are_printed_last_and_can_be_pasted(self, name):
        examples = cli.load(name).EXAMPLES
        text = cli.build_parser(name).format_help()
        _, _, printed = text.partition("\nexamples:\n")
        pasted = printed.replace("\\\n", "")
        lines = [" ".join(line.split()) for line in pasted.splitlines()]
        assert lines == [line for comment, command in examples for line in (f"# {comment}", command)]
        assert max(map(len, printed.splitlines())) <= cli.WIDEST


def test_a_command_of_a_package_may_have_none(monkeypatch):
    class Module:
        HELP = "does something"
        __doc__ = None
        add_arguments = staticmethod(
            lambda parser: parser.add_argument("--loud", action="store_true", help="50%% more")
        )

    monkeypatch.setattr(cli, "load", lambda name: Module)
    text = cli.build_parser("shout").format_help()
    assert text.startswith("usage: insight shout [options]\n\ndoes something\n") and "50% more" in text
    assert "examples" not in text
