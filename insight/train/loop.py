"""The training loop: set up, step, verify, save. Read :func:`train` top to bottom."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from .. import checkpoint, nets
from .._mxnet import keep_freed_memory, mx
from ..errors import InsightError
from ..feed.loader import Loader
from ..formats.faceset import FaceSet
from ..heads import heads
from ..heads.classifier import Classifier
from ..heads.margin import MarginOptions
from ..verify import verification
from . import schedule as schedules
from .evaluation import Evaluation
from .journal import Journal
from .optimizer import make_trainer
from .options import TrainOptions


class Interrupted(InsightError):
    """Ctrl-C: the message says which checkpoint is the last."""

    exit_status = 130


class TrainResult(NamedTuple):
    """What a run left behind."""

    steps: int
    last_checkpoint: int  # number under the prefix; 0 where none was saved
    accuracies: dict  # target name to the last verification's accuracy


def train(options: TrainOptions) -> TrainResult:
    """Run one training stage.

    Raises
    ------
    InsightError
        Bad options or data; nothing has been written then.
    """
    keep_freed_memory()
    faces = FaceSet.open(options.data_dir)
    check_labels(faces)
    sets, missing = verification.find_sets(options.data_dir, options.targets)
    loader = Loader(faces, options.per_batch_size, options.seed, bool(options.rand_mirror), options.num_workers)
    model = Model(options, faces.num_classes, _device())
    schedule = schedules.from_options(options, model.head_name)
    steps = schedules.total_steps(options, schedule, loader.batches_per_epoch)
    journal = Journal(options.prefix, options.per_batch_size, loader.batches_per_epoch, options.frequent)
    journal.write("start", options=dataclasses.asdict(options), set=faces.fingerprint(), steps=steps)
    _announce(journal, faces, model, schedule, steps, missing, options)
    evaluation = Evaluation(options, sets, model, journal)
    trainer = make_trainer(model.params, options.mom, options.wd, options.fc7_wd_mult)

    evaluation.verify(step=0)
    step, result = 0, None
    try:
        for batch in loader.batches():
            rate = schedule(step)
            if step and rate != schedule(step - 1):
                journal.say(f"lr change to {rate:g}")
            trainer.set_learning_rate(rate)
            data, label = batch.data.as_in_context(model.device), batch.label.as_in_context(model.device)
            if result is not None:
                result.loss_B.wait_to_read()  # at most one step ahead: time spent waiting for data stays visible
            result = model.classifier.backward(model.network, data, label)
            trainer.step(options.per_batch_size)
            step += 1
            journal.step(step, result, rate, loader.waited)
            if step % options.verbose == 0 or step == steps:
                evaluation.verify(step)
                evaluation.save(step, last=step == steps)
            if step == steps:
                break
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted at step {step}; {evaluation.where_saved()}") from None
    finally:
        journal.close()
    return TrainResult(step, evaluation.last_saved, dict(evaluation.accuracies))


class Model:
    """Network and classifier on one device, with one name space of parameters."""

    def __init__(self, options: TrainOptions, num_classes: int, device):
        self.device = device
        head = heads.get(options.loss_type)
        self.head_name = head.__name__.lower()
        margin = head(MarginOptions(options.margin_s, options.margin_m, bool(options.easy_margin)))
        # The two-batch-norm PReLU is the fast one on MXNet's CPU; a GPU has a kernel for the plain one.
        self.network = nets.create(
            options.network,
            options.emb_size,
            fast_prelu=device.device_type == "cpu",
            batchnorm_momentum=options.bn_mom,
        )
        use_bias = not margin.cosine and not options.fc7_no_bias
        self.classifier = Classifier(margin, num_classes, options.emb_size, use_bias)
        self.fresh: list = []
        self._initialise(options)
        self.network.hybridize(static_alloc=True, static_shape=True)

    @property
    def params(self) -> dict:
        """Name to Gluon parameter: all that a checkpoint holds."""
        return {**self.network.kept(), **dict(self.classifier.params.items())}

    def _initialise(self, options: TrainOptions) -> None:
        mx.random.seed(options.seed)
        # uniform over fan-in: the recipe's way for MobileFaceNet, where a depthwise fan-out would be tiny
        xavier = mx.init.Xavier(rnd_type="uniform", factor_type="in", magnitude=2)
        self.network.initialize(xavier, ctx=self.device)
        self.classifier.params.initialize(xavier, ctx=self.device)
        if options.pretrained:
            prefix, epoch = checkpoint.parse_spec(options.pretrained, "--pretrained")
            arg_params, aux_params = checkpoint.load_params(prefix, epoch)
            self.fresh = checkpoint.assign(self.params, {**arg_params, **aux_params})

    def checkpoint(self) -> checkpoint.Checkpoint:
        """The current state as a checkpoint: plain graph with fc7 and softmax, arrays on the CPU."""
        symbol = self.classifier.symbol(nets.symbol(self.network))
        arrays = {name: p.data().as_in_context(mx.cpu()) for name, p in self.params.items()}
        auxiliary = set(symbol.list_auxiliary_states())
        args = {name: array for name, array in arrays.items() if name not in auxiliary}
        return checkpoint.Checkpoint(symbol, args, {name: arrays[name] for name in arrays if name in auxiliary})


def check_labels(faces: FaceSet) -> None:
    """Refuse labels that have no class, naming a record: MXNet would train on garbage without a word.

    Raises
    ------
    InsightError
        Fewer than two identities, or a label outside 0..num_classes-1.
    """
    if faces.num_classes < 2:
        raise InsightError(f"{faces.rec_path}: holds {faces.num_classes} identity; training needs at least 2")
    bad = np.flatnonzero((faces.labels < 0) | (faces.labels >= faces.num_classes))
    if bad.size:
        first = int(bad[0])
        raise InsightError(
            f"{faces.rec_path}: record {faces.images[first]} has label {faces.labels[first]}, the property file says "
            f"{faces.num_classes} classes ({bad.size} such records); pack the set again or mend its property file"
        )


def _device():
    return mx.gpu(0) if mx.context.num_gpus() else mx.cpu()


def _announce(journal, faces, model, schedule, steps, missing, options) -> None:
    for note in faces.notes:
        journal.say(f"note: {note}")
    journal.say(f"{len(faces)} images of {faces.num_classes} identities; {options.network}, {model.head_name}")
    falls = ", ".join(map(str, schedule.boundaries))
    journal.say(f"{steps} steps of {options.per_batch_size} images; lr {schedule.lr:g}, a tenth at each of {falls}")
    if options.pretrained:
        fresh = ", ".join(model.fresh) if model.fresh else "nothing"
        journal.say(f"loaded {options.pretrained}; left fresh: {fresh}")
    if missing:
        journal.say(f"no verification set for: {', '.join(missing)} (no such .bin in {options.data_dir})")
