"""SGD with momentum: which arrays decay, at which rate, and the momentum as arrays for exact resume.

The original set ``lr_mult`` and ``wd_mult`` on its variables and built its optimizer without the symbol
(train_softmax.py:370 at deepinsight/insightface@4bc81321), so ``--fc7-wd-mult``, ``--fc7-lr-mult`` and the
rule below never took effect there. Here they do, as paper and recipe intend.
"""

from __future__ import annotations

from typing import Collection, Mapping, Optional

from .._mxnet import mx
from ..objectives.objective import Multipliers
from ..ranks.flat import sum_in_place
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from . import clip

# "the last layers after the global operator": MobileFaceNet, arXiv:1804.07573, section 4.1; fc7 is the objective's
LAST_LAYERS = ("fc1_weight", "pre_fc1_weight")


def make_trainer(
    params: dict, momentum: float, wd: float, fc7_wd_mult: float, multipliers: Mapping[str, Multipliers] = {}
):
    """A Gluon trainer over the parameters; its rate is set before each step.

    m = momentum m - lr (g / B + wd w), w += m. Weights and gammas (PReLU slopes among
    them) decay; biases and betas do not, by MXNet's own rule for Module. Gradients of
    several devices are summed first.

    Parameters
    ----------
    params : dict
        Name to Gluon parameter, the objective's included.
    momentum, wd : float
    fc7_wd_mult : float
        Multiplies the decay of the embedding's FC.
    multipliers : mapping of str to Multipliers
        The objective's own (:meth:`insight.objectives.objective.Objective.multipliers`).
    """
    for name, parameter in params.items():
        decays = name.endswith(("_weight", "_gamma"))
        decay = (fc7_wd_mult if name in LAST_LAYERS else 1.0) if decays else 0.0
        parameter.lr_mult, parameter.wd_mult = multipliers.get(name, Multipliers(decay=decay))
    sgd = mx.optimizer.SGD(momentum=momentum, wd=wd)
    several = len(next(iter(params.values())).list_ctx()) > 1
    kvstore = {"kvstore": "device", "update_on_kvstore": False} if several else {"kvstore": None}
    # Without the running statistics: a trainer of several devices gives all of them the first one's when it starts.
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
    """One step of the trainer: gradients are summed over devices and ranks, the network's is clipped, all are applied.

    Parameters
    ----------
    trainer : mxnet.gluon.Trainer
    batch_size : int
        Over all devices of all ranks.
    frozen : bool
        Parameters without a new gradient, those of the network, stay as they are, and nothing is clipped.
    clip_norm : float
        0: nothing is clipped.
    network : collection of str
        Names of the parameters whose gradient is clipped, as one vector.
    ranks : Ranks
    divided : collection of str
        Names of the parameters of which each rank has rows of its own: their gradients are not summed.

    Returns
    -------
    float or None
        The norm of that gradient, of the mean loss, before clipping; None without.
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
    """Sum the equal arrays of a parameter's devices over the ranks; each device gets the same."""
    sum_in_place(ranks, "gradients", [copies[0] for copies in gradients])
    for first, *others in gradients if ranks.size > 1 else ():
        for other in others:
            other[:] = first.as_in_context(other.context)


def momenta(trainer) -> dict:
    """Parameter name to each device's momentum array, of those that have been updated. All devices hold the same."""
    states = [updater.states for updater in trainer._updaters]  # no public way but a pickle of everything
    return {
        parameter.name: [state[i] for state in states]
        for i, parameter in enumerate(trainer._params)
        if states[0].get(i) is not None
    }


def allocate_momenta(trainer, names) -> dict:
    """Give the parameters of these names their momentum now, zero, and not in their first update; see momenta."""
    for index, parameter in enumerate(trainer._params):
        if parameter.name in names:
            for updater, weight in zip(trainer._updaters, parameter.list_data()):
                updater.states[index] = trainer._optimizer.create_state_multi_precision(index, weight)
                updater.states_synced[index] = True
    return momenta(trainer)
