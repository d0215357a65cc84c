"""Preparation of a run before anything large is allocated: set, schedule, objective, and the state to resume from."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import numpy as np

from .. import __version__, objectives
from .._mxnet import keep_freed_memory, mx
from ..errors import InsightError
from ..feed import samplers
from ..feed.augment import Augmentation
from ..feed.loader import Loader
from ..formats.faceset import FaceSet
from ..objectives.objective import Objective
from ..ranks.agreement import agree
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from ..teach.batch_teacher import BatchTeacher
from ..teach.live import LiveTeacher
from ..teach.stage_teacher import StageTeacher
from ..teach.teacher import Teacher
from . import devices as device_lists
from . import guards, resume
from . import schedule as schedules
from .schedule import Schedule
from .train_options import TrainOptions, flag

# Options that may differ between machines. Sets, teachers and devices are compared by content or kind instead.
OF_A_MACHINE = ("data_dir", "num_workers", "devices", "teacher", "teacher_file")


@dataclass(frozen=True)
class Setup:
    """Everything that a run needs to start.

    Attributes
    ----------
    options : TrainOptions
    devices : list of mxnet.Context
    faces : FaceSet
    fingerprint : str
        Fingerprint of the set.
    objective : Objective
        Not yet allocated.
    loader : Loader
    schedule : Schedule
    state : resume.State or None
        State from which the run resumes; None: it starts from the beginning.
    notes : list of str
        Unusual properties of the set and the options, for the log.
    teacher : BatchTeacher or None
        Teacher of the objective. Unless ``is_made``, call its :meth:`~insight.teach.teacher.Teacher.make` first.
    ranks : Ranks
        The processes of the run.
    """

    options: TrainOptions
    devices: list
    faces: FaceSet
    fingerprint: str
    objective: Objective
    loader: Loader
    schedule: Schedule
    state: Optional[resume.State]
    notes: List[str]
    teacher: Optional[BatchTeacher] = None
    ranks: Ranks = ALONE

    @property
    def batch_size(self) -> int:
        """Images per step, over all devices of all ranks."""
        return self.loader.batch_size

    @property
    def first_step(self) -> int:
        """Steps done before: the 0-based number of the first step to take."""
        return self.state.step if self.state else 0

    @property
    def total_steps(self) -> int:
        """Length of the run in steps."""
        return self.schedule.total_steps

    @property
    def done(self) -> bool:
        """Whether the resumed run has already reached the length of this one."""
        state, total = self.state, self.total_steps
        return state is not None and (state.step > total or (state.step == total and state.finished))


def prepare(options: TrainOptions, ranks: Ranks = ALONE, ways: resume.Ways = resume.BY_FLAG) -> Setup:
    """Read and check everything that a run needs. Writes no file.

    Parameters
    ----------
    options : TrainOptions
    ranks : Ranks
    ways : resume.Ways
        How the command resumes, in messages.

    Raises
    ------
    InsightError
        Options or data are invalid, or the ranks were not started for the same run.
    """
    keep_freed_memory()
    devices = device_lists.parse(options.devices, ranks.local_rank, ranks.local_size)
    faces = FaceSet.open(options.data_dir)
    options, rounded = _whole_parts(options)
    notes = [*guards.check_set(faces, options, objectives.kind(options.loss_type).labelled), *rounded]
    fingerprint = faces.fingerprint()
    number = ranks.size * len(devices)
    state = resume.find(options, fingerprint, number, ways)
    loader = Loader(
        faces,
        options.per_batch_size * number,
        options.seed,
        Augmentation(bool(options.rand_mirror), options.color, options.cutoff, options.degrade),
        options.num_workers,
        options.images_filter,
        "uint8" if devices[0].device_type == "gpu" else "float32",
        sampler=samplers.chosen(options.sampler, vars(options), number, objectives.kind(options.loss_type).OPTIONS),
        ranks=ranks,
    )
    if state:
        loader.restore(state.meta.get("sampler", {}))
    teacher = _teacher(options, faces, fingerprint, devices[0], state)
    objective = objectives.create(options, faces.num_classes, teacher)
    objective.join(ranks)
    if options.freeze_backbone_steps and not list(objective.params.keys()):
        raise InsightError(
            f"--freeze-backbone-steps {options.freeze_backbone_steps}: {objective.name} has no weights beside the "
            "network's, so nothing would be trained; leave it out"
        )
    schedule = schedules.from_options(options, objective, loader.batch_size, loader.batches_per_epoch)
    notes += [*loader.sampler.notes, *(teacher.notes if teacher else [])]
    setup = Setup(options, devices, faces, fingerprint, objective, loader, schedule, state, notes, teacher, ranks)
    _agree(setup)
    return setup


def versions() -> Dict[str, str]:
    """Versions of the software that the results of a run depend on."""
    return {
        "insight": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _agree(setup: Setup) -> None:
    """Refuse ranks whose options, data or versions differ from those of rank 0."""
    options = dataclasses.asdict(setup.options)
    agree(
        setup.ranks,
        {
            "install the same versions on all machines": versions(),
            "start all ranks by the same command": {
                **{flag(name): value for name, value in options.items() if name not in OF_A_MACHINE},
                "--devices": [device.device_type for device in setup.devices],
                "--teacher": setup.teacher.identity if setup.teacher else None,
            },
            "give all ranks the same set": {"fingerprint of the set in --data-dir": setup.fingerprint},
            "all ranks must see the same files of --prefix": {
                "step of the run to resume": setup.state.step if setup.state else None
            },
        },
    )


def _teacher(
    options: TrainOptions, faces: FaceSet, fingerprint: str, device, state: Optional[resume.State]
) -> Optional[BatchTeacher]:
    """Create the teacher that ``--teacher`` names.

    Raises
    ------
    InsightError
        It cannot be used, or the run to resume was started with another one or none.
    """
    teacher: Optional[BatchTeacher] = None
    where = device if device.device_type == "gpu" else None
    if options.teacher_live:
        kind = StageTeacher if options.teacher_features else LiveTeacher
        teacher = kind(options.teacher, faces, where)
    elif options.teacher:
        teacher = Teacher(
            options.teacher,
            options.teacher_file or f"{options.prefix}-teacher.npz",
            faces,
            fingerprint,
            bool(options.rand_mirror),
            options.teacher_flips,
            where,
        )
    earlier = state.meta["model"].get("objective", {}).get("teacher") if state else None
    if state and earlier != (teacher.identity if teacher else None):
        raise InsightError(
            f"--teacher {options.teacher or '(none)'}: not what the run of {state.path} was started with; resume it "
            "with the same teacher and the same file of its embeddings"
        )
    return teacher


def _whole_parts(options: TrainOptions) -> Tuple[TrainOptions, List[str]]:
    """Round the batch size down to a multiple that the sampler needs; returns (options, notes)."""
    multiple, size = samplers.samplers.get(options.sampler).MULTIPLE, options.per_batch_size
    if size < multiple:
        raise InsightError(f"--per-batch-size {size}: the sampler {options.sampler} needs at least {multiple}")
    whole = size // multiple * multiple
    if whole == size:
        return options, []
    note = f"--per-batch-size {size}: {whole} are used, a multiple of {multiple}"
    return dataclasses.replace(options, per_batch_size=whole), [note]
