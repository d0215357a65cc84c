"""IJB's figures from its files, one image, template, pair and probe at a time, by the published definitions."""

import math

import cv2
import numpy as np
from ijb_layout import GALLERIES, TEMPLATE
from skimage.transform import SimilarityTransform


def rows_of(path, separator=None, heading=0):
    return [line.split(separator) for line in path.read_text().splitlines()[heading:]]


def aligned(path, points):
    source = np.array(points, np.float32).reshape(5, 2)
    if hasattr(SimilarityTransform, "from_estimate"):
        transform = SimilarityTransform.from_estimate(source, TEMPLATE)
    else:  # before scikit-image 0.26
        transform = SimilarityTransform()
        transform.estimate(source, TEMPLATE)
    face = cv2.warpAffine(cv2.imread(str(path)), transform.params[:2], (112, 112), borderValue=0.0)
    return cv2.cvtColor(face, cv2.COLOR_BGR2RGB)


def image_features(root, target, network, flip, detector_score, feature_norm):
    """A feature of each image, float64."""
    features = []
    for name, *numbers in rows_of(root / f"meta/{target.lower()}_name_5pts_score.txt"):
        face = aligned(root / "loose_crop" / name, list(map(float, numbers[:10])))
        passes = [face, face[:, ::-1]] if flip else [face]
        images = np.stack([one.transpose(2, 0, 1) for one in passes])
        feature = network(np.ascontiguousarray(images)).astype(np.float64).sum(0)
        if not feature_norm:
            feature /= np.linalg.norm(feature)
        features.append(feature * (float(numbers[10]) if detector_score else 1.0))
    return features


def template_features(root, target, features):
    """Template number to its feature of length 1."""
    members = {}
    for feature, (_, template, medium) in zip(features, rows_of(root / f"meta/{target.lower()}_face_tid_mid.txt")):
        members.setdefault(int(template), {}).setdefault(int(medium), []).append(feature)
    sums = {number: sum(np.mean(frames, axis=0) for frames in media.values()) for number, media in members.items()}
    return {number: total / np.linalg.norm(total) for number, total in sums.items()}


def roc(scores, same):
    """Points (FPR, TPR) from (0, 0), without those on a straight line between their neighbours, as scikit-learn's."""
    counts = [(0, 0)]
    for score in sorted(set(scores), reverse=True):
        accepted = [is_same for one, is_same in zip(scores, same) if one >= score]
        counts.append((accepted.count(False), accepted.count(True)))
    corners = [counts[0], counts[1]]
    for before, point, after in zip(counts[1:], counts[2:], counts[3:]):
        if (after[0] - point[0], after[1] - point[1]) != (point[0] - before[0], point[1] - before[1]):
            corners.append(point)
    corners.append(counts[-1])
    return [(false / same.count(False), true / same.count(True)) for false, true in corners]


def one_to_one(root, target, templates):
    rows = [tuple(map(int, row)) for row in rows_of(root / f"meta/{target.lower()}_template_pair_label.txt")]
    scores = [float(templates[a] @ templates[b]) for a, b, _ in rows]
    points = roc(scores, [bool(same) for *_, same in rows])
    figures = {}
    for far in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        distance = min(abs(x - far) for x, _ in points)
        figures["1:1", "TAR@FAR", far] = max(y for x, y in points if abs(x - far) == distance)
    area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in zip(points, points[1:]))
    return {**figures, ("1:1", "AUC", None): area}


def subjects(path):
    return {int(template): int(subject) for template, subject, *_ in rows_of(path, ",", 1)}


def one_to_many(root, target, templates):
    low = target.lower()
    lists = {name: subjects(root / f"meta/{low}_1N_gallery_{name}.csv") for name in GALLERIES[target]}
    probes = subjects(root / f"meta/{low}_1N_probe_mixed.csv")
    joined = {template: subject for gallery in lists.values() for template, subject in gallery.items()}
    figures = {}
    before, own, other = search(templates, joined, probes)
    for rank in (1, 5, 10):
        figures["1:N, galleries joined", "rank", rank] = np.mean([b < rank for b in before])
    negative = sorted((score for scores in other for score in scores), reverse=True)
    for fpir in (0.01, 0.1):
        threshold = negative[math.ceil(fpir * len(own)) - 1]
        figures["1:N, galleries joined", "TPIR@FPIR", fpir] = np.mean([score > threshold for score in own])
    totals = {}
    for name, gallery in lists.items():
        known = {probe: subject for probe, subject in probes.items() if subject in gallery.values()}
        strangers = [probe for probe in probes if probe not in known]
        before, own, other = search(templates, gallery, known)
        for rank in (1, 5, 10):
            hits = [b < rank for b in before]
            figures[f"1:N, gallery {name}", "rank", rank] = np.mean(hits)
            totals.setdefault(("rank", rank), []).append(sum(hits) / len(probes))
        tops = sorted((max(float(templates[p] @ templates[g]) for g in gallery) for p in strangers), reverse=True)
        for fpir in (0.01, 0.1):
            threshold = tops[max(int(len(tops) * fpir) - 1, 0)]
            hits = [score > max(scores) and score > threshold for score, scores in zip(own, other)]
            figures[f"1:N, gallery {name}", "TPIR@FPIR", fpir] = np.mean(hits)
            totals.setdefault(("TPIR@FPIR", fpir), []).append(np.mean(hits) / 2)
    return {**figures, **{("1:N, both galleries", *key): sum(values) for key, values in totals.items()}}


def search(templates, gallery, probes):
    """For each probe: how many others come before its own, the score of its own, and the scores of the others."""
    before, own, other = [], [], []
    for probe, subject in probes.items():
        scores = {s: float(templates[probe] @ templates[number]) for number, s in gallery.items()}
        own.append(scores.pop(subject))
        other.append(list(scores.values()))
        before.append(sum(score >= own[-1] for score in other[-1]))
    return before, own, other


def plain_figures(root, target, network, flip=True, detector_score=True, feature_norm=True):
    """(part, name, at) to value, for all figures of `insight ijb`."""
    features = image_features(root, target, network, flip, detector_score, feature_norm)
    templates = template_features(root, target, features)
    return {**one_to_one(root, target, templates), **one_to_many(root, target, templates)}
