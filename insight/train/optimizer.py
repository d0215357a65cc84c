"""SGD with momentum: multipliers of learning rate and weight decay, and the momentum as arrays for exact resume.

InsightFace sets ``lr_mult`` and ``wd_mult`` on its variables but builds the optimizer without the symbol
(train_softmax.py:370 at deepinsight/insightface@4bc81321), so ``--fc7-wd-mult``, ``--fc7-lr-mult`` and the rule of
:func:`make_trainer` have no effect there. Here they take effect, as the paper and the recipe intend.
"""

from __future__ import annotations

from typing import Collection, Mapping, Optional

from .._mxnet import mx
from ..objectives.objective import Multipliers
from ..ranks.flat import sum_in_place
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from . import clip

# "the last layers after the global operator": MobileFaceNet, arXiv:1804.07573, section 4.1; fc7 is in the objective
LAST_LAYERS = ("fc1_weight", "pre_fc1_weight")


def make_trainer(
    params: dict, momentum: float, wd: float, fc7_wd_mult: float, multipliers: Mapping[str, Multipliers] = {}
):
    """Create a Gluon trainer with SGD over the parameters; the caller sets its learning rate before each step.

    The update is m = momentum m - lr (g / B + wd w), w += m, with the gradient g summed over the devices. Weight decay
    applies to weights and gammas, which include PReLU slopes, and not to biases and betas, as in MXNet's Module.

    Parameters
    ----------
    params : dict
        Name to Gluon parameter, including the objective's.
    momentum, wd : float
    fc7_wd_mult : float
        Multiplier of the weight decay of the embedding's FC.
    multipliers : mapping of str to Multipliers
        Those of the objective (:meth:`insight.objectives.objective.Objective.multipliers`), which take precedence.
    """
    for name, parameter in params.items():
        decays = name.endswith(("_weight", "_gamma"))
        decay = (fc7_wd_mult if name in LAST_LAYERS else 1.0) if decays else 0.0
        parameter.lr_mult, parameter.wd_mult = multipliers.get(name, Multipliers(decay=decay))
    sgd = mx.optimizer.SGD(momentum=momentum, wd=wd)
    several = len(next(iter(params.values())).list_ctx()) > 1
    kvstore = {"kvstore": "device", "update_on_kvstore": False} if several else {"kvstore": None}
    # Without the running statistics: a trainer of several devices copies the first device's to all at its start.
    learned = {name: params[name] for name in sorted(params) if params[name].grad_req != "null"}
    return mx.gluon.Trainer(learned, sgd, **kvstore)


def update(
    trainer,
    batch_size: int,
    frozen: bool = False,
    clip_norm: float = 0.0,
    network: Collection[str] = (),
    ranks: Ranks = ALONE,
    divided: Collection[str] = (),
) -> Optional[float]:
    """One step of the trainer: sum the gradients over devices and ranks, clip the network's, update the parameters.

    Parameters
    ----------
    trainer : mxnet.gluon.Trainer
    batch_size : int
        Images over all devices of all ranks.
    frozen : bool
        Whether the network is frozen: its parameters have no new gradient and are not updated, and nothing is clipped.
    clip_norm : float
        Bound of the norm of the network's gradient, of the mean loss; 0: nothing is clipped.
    network : collection of str
        Names of the network's parameters. Their gradients are clipped as one vector.
    ranks : Ranks
    divided : collection of str
        Names of the parameters that are divided among the ranks by rows: their gradients are not summed over ranks.

    Returns
    -------
    float or None
        Norm of the network's gradient, of the mean loss, before clipping; None if nothing is clipped.
    """
    trainer.allreduce_grads()
    left_out = {*divided, *(network if frozen else ())}
    _sum_over_ranks([p.list_grad() for p in trainer._params if p.name not in left_out], ranks)
    norm = None
    if clip_norm and not frozen:
        norm = clip.clip([p.list_grad() for p in trainer._params if p.name in network], batch_size, clip_norm)
    trainer.update(batch_size, ignore_stale_grad=frozen)
    return norm


def _sum_over_ranks(gradients: list, ranks: Ranks) -> None:
    """Sum gradients, which are equal on all devices of a rank, over the ranks; copy the sums to all devices."""
    sum_in_place(ranks, "gradients", [copies[0] for copies in gradients])
    for first, *others in gradients if ranks.size > 1 else ():
        for other in others:
            other[:] = first.as_in_context(other.context)


def momenta(trainer) -> dict:
    """Parameter name to the equal momentum arrays of all devices, for parameters that have been updated."""
    states = [updater.states for updater in trainer._updaters]  # the only public access is a pickle of all states
    return {
        parameter.name: [state[i] for state in states]
        for i, parameter in enumerate(trainer._params)
        if states[0].get(i) is not None
    }


def allocate_momenta(trainer, names) -> dict:
    """Allocate zero momentum for the named parameters before their first update; returns :func:`momenta`."""
    for index, parameter in enumerate(trainer._params):
        if parameter.name in names:
            for updater, weight in zip(trainer._updaters, parameter.list_data()):
                updater.states[index] = trainer._optimizer.create_state_multi_precision(index, weight)
                updater.states_synced[index] = True
    return momenta(trainer)
