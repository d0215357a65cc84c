"""Shared by the commands that train: the flags of a run's options, --estimate, and a run from its options."""

import dataclasses

SECTIONS = {  # field of the options: title of the group that begins with it
    "data_dir": "data",
    "network": "network",
    "loss_type": "loss",
    "teacher": "teacher",
    "lr": "rate and length",
    "per_batch_size": "optimiser",
    "seed": "seed and devices",
    "prefix": "checkpoints",
    "verbose": "verification and log",
}
COMPONENTS = {  # the same of the options that components declare behind a field
    "sampler": "options of samplers",
    "emb_size": "options of networks",
    "loss_type": "options of objectives",
}
OF_MARGINS = "options of margins"


def add_flags(parser, defaults=None, without=()):
    """One flag a field of the options, in groups; those of components follow the group of what selects them.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    defaults : mapping, optional
        Of the command, by field, where they are not the field's.
    without : collection of str
        Fields that the command has no flag for.
    """
    from ..train.train_options import TrainOptions

    title, sections = "", {}  # title: functions that add a flag to the group
    for field in dataclasses.fields(TrainOptions):
        if not field.metadata:  # declared by a component
            continue
        title = SECTIONS.get(field.name, title)
        if field.name not in without:
            default = (defaults or {}).get(field.name, field.default)
            sections.setdefault(title, []).append(_flag_of(field, default))
        for own_title, option in _declared_behind(field.name):
            if option.name not in without:
                sections.setdefault(own_title, []).append(option.add_to)
    in_order = [*dict.fromkeys(SECTIONS.values()), *COMPONENTS.values(), OF_MARGINS]
    for title in sorted(sections, key=in_order.index):
        group = parser.add_argument_group(title)
        for add_to in sections[title]:
            add_to(group)


def _declared_behind(field):
    """(title, option) of the options that components declare behind a field."""
    from ..margins import margins
    from ..objectives import objectives
    from ..train.train_options import DECLARED_BEHIND

    def names(registry):
        return {option.name for _, component in registry.components() for option in component.OPTIONS}

    of_margins = names(margins) - names(objectives) if field == "loss_type" else ()
    for option in DECLARED_BEHIND.get(field, ()):
        yield OF_MARGINS if option.name in of_margins else COMPONENTS[field], option


def _flag_of(field, default):
    """What adds the flag of a field to a group; a False default makes a switch."""
    from ..train.train_options import flag

    about = field.metadata
    if field.default is False:
        options = {"action": "store_true"}
    else:
        options = {"type": about["type"], "default": default}
        options.update({"choices": about["choices"]} if about["choices"] else {"metavar": "X"})
    return lambda group: group.add_argument(flag(field.name), help=about["help"], **options)


def add_estimate(parser):
    """The option that only estimates."""
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="take a few steps and print the estimated duration of the run; write nothing",
    )


def start(options, estimated: bool, **ways) -> None:
    """Train, or estimate how long that would take; ``ways`` are those of :class:`~insight.train.resume.Ways`."""
    from ..train.resume import Ways

    if estimated:
        from ..train.estimate import estimate

        estimate(options, ways=Ways(**ways))
        return
    from ..train.loop import train

    result = train(options, Ways(**ways))
    if result.rank == 0:
        print(f"{result.steps} steps done")
