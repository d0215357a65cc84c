"""Triplets by plain loops, straight from the definitions; slow."""

import numpy as np


def squared(a, b):
    """Squared Euclidean distance of two unit vectors, as float32."""
    return np.float32(max(2 - 2 * float(a @ b), 0))


def angle(a, b):
    return np.float32(np.arccos(min(1, max(-1, float(a @ b)))))


def pairs_of(labels):
    """(anchor, positive) of one identity: identities in order of appearance, then anchors, then positives."""
    found = []
    for label in dict.fromkeys(labels.tolist()):
        images = [i for i, other in enumerate(labels) if other == label]
        for j, anchor in enumerate(images):
            found += [(anchor, positive) for positive in images[j + 1 :]]
    return found


def picked(unit, labels, uniforms, alpha, max_ap=0.0, negatives="semi-hard", distance=squared):
    """(anchor, positive, negative) of each pair that has a negative."""
    found = []
    for (anchor, positive), uniform in zip(pairs_of(labels), uniforms):
        d_ap = distance(unit[anchor], unit[positive])
        if max_ap and d_ap > np.float32(max_ap):
            continue
        others = [(i, distance(unit[anchor], unit[i])) for i in range(len(labels)) if labels[i] != labels[anchor]]
        if negatives == "hardest":
            nearest = min((d for _, d in others), default=None)
            others = [pair for pair in others if pair[1] == nearest][:1]
        elif negatives != "all":
            others = [(i, d) for i, d in others if d - d_ap < np.float32(alpha)]
            if negatives == "semi-hard":
                others = [(i, d) for i, d in others if d_ap < d]
            others = others and [others[int(uniform * len(others))]]
        found += [(anchor, positive, i) for i, _ in others]
    return found


def mean_loss(unit_rows, triplets, alpha, soft, distance):
    """(sum of the losses, how many are not zero), in float64."""
    total, learning = 0.0, 0
    for a, p, n in triplets:
        gap = distance(unit_rows[a], unit_rows[n]) - distance(unit_rows[a], unit_rows[p])
        loss = np.log1p(np.exp(-gap)) if soft else max(0.0, alpha - gap)
        total, learning = total + loss, learning + (loss > 0)
    return total, learning
