"""The script completes commands, options, the names of networks, losses, samplers, engines and detectors, and files.
It asks nothing when it is used, so that it is quick, and knows what was installed when it was printed: print it again
after installing a package that adds commands or options.
"""

HELP = "print a script by which a shell completes commands and options"
EXAMPLES = (
    (
        "bash, in new shells; needs the package bash-completion",
        "insight completion bash > ~/.local/share/bash-completion/completions/insight",
    ),
    ("zsh, with ~/.zfunc in its fpath", "insight completion zsh > ~/.zfunc/_insight"),
    ("fish", "insight completion fish > ~/.config/fish/completions/insight.fish"),
)

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser):
    parser.add_argument_group("shell").add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(args):
    import shtab

    print(shtab.complete(_whole_parser(), args.shell))


def _whole_parser():
    """One parser with all commands, whose values have what completes them."""
    import argparse

    from ..errors import InsightError
    from ..progress import warn
    from . import build_parser, command_names, load, plugin_commands

    whole = argparse.ArgumentParser("insight", description="Train, check and export face-embedding networks.")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    names = _component_names()
    for name in (*command_names(), *sorted(plugin_commands())):
        try:
            parser, text = build_parser(name), load(name).HELP
        except InsightError as error:
            warn(f"{error}; command {name!r} is not completed")
            continue
        for action in parser._actions:
            _add_completion(action, names)
        commands.add_parser(name, help=text, parents=[parser], add_help=False)
    return whole


def _component_names():
    """Option to the names that it takes, beside others such as ``gluoncv:NAME``."""
    from .. import engines, nets, objectives
    from ..detect.detectors import detectors
    from ..feed import samplers
    from ..margins import margins
    from ..train.train_options import DECLARED

    return {
        **{option.name: option.choices for option in DECLARED if option.choices},
        "detector": detectors.names(),
        "engine": engines.ENGINES.names(),
        "loss_type": [*margins.names(), *objectives.objectives.names()],
        "network": nets.networks.names(),
        "sampler": samplers.samplers.names(),
    }


def _add_completion(action, names):
    """Names of components, or files for any other text."""
    import shtab

    if action.nargs == 0 or action.choices is not None:
        return
    if action.dest in names:
        action.choices = names[action.dest]
    elif action.type in (None, str):
        action.complete = shtab.FILE
