"""MegaFace runs: noise removal, galleries of 10 to 1M distractors, metrics, and feature files for the kit."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..faces.unit import without_direction
from ..files.commit import folder_beside
from . import featurefiles, megaface
from .facelist import FaceList, folder_of, read_list
from .featurefiles import FACESCRUB, MEGAFACE
from .protocol import ProtocolFigure, ProtocolResult, figures_of
from .search import check_shapes

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
LIST_OF_SIZE = "megaface_features_list.json_{}_{}"  # size, number of the set; in the kit's templatelists
ROWS = 50_000  # features processed per block


class Probes(NamedTuple):
    """FaceScrub's images: paths, (N, E) float32 features, (N,) int64 identities from 0, (N,) bool noisy."""

    names: List[str]
    features: np.ndarray
    identities: np.ndarray
    noisy: np.ndarray


class Distractors(NamedTuple):
    """MegaFace's images: paths, (N, E) float32 features, (N,) bool noisy."""

    names: List[str]
    features: np.ndarray
    noisy: np.ndarray


class GalleryOptions(NamedTuple):
    """Options of the galleries and of what is measured in each.

    Attributes
    ----------
    sizes : sequence of int
        Numbers of distractors. Without ``lists``, a larger size than the set is replaced by the size of the set.
    lists : str
        Folder with ``megaface_features_list.json_SIZE_SET`` of the development kit. If empty, distractors are chosen at
        random as a function of the seed, and smaller galleries are subsets of larger ones.
    number : int
        Number SET of the lists.
    seed : int
    ranks : sequence of int
        As in :func:`.megaface.evaluate`.
    fars : sequence of float
        As in :func:`.megaface.evaluate`.
    """

    sizes: Sequence[int] = SIZES
    lists: str = ""
    number: int = 1
    seed: int = 0
    ranks: Sequence[int] = megaface.RANKS
    fars: Sequence[float] = megaface.FARS


def check_options(sizes: Sequence[int], ranks: Sequence[int], fars: Sequence[float]) -> None:
    """Raise InsightError if a size or a rank is below 1, or a rate is not between 0 and 1."""
    for option, values in (("--sizes", sizes), ("--ranks", ranks)):
        if min(values) < 1:
            raise InsightError(f"{option} {','.join(map(str, values))}: want whole numbers, 1 or more")
    for far in fars:
        if not 0 < far < 1:
            raise InsightError(f"--far {far}: want a rate between 0 and 1")


def identities_of(faces: FaceList, source: str) -> np.ndarray:
    """(N,) int64 identities of FaceScrub's images: those of the list, or else the folders of the images.

    Raises
    ------
    InsightError
        A path has no folder, or no identity has two images.
    """
    people = faces.identities or [folder_of(name) for name in faces.names]
    if not all(people):
        name = faces.names[people.index("")]
        raise InsightError(f"{source}: {name} is in no folder, which names its identity; want a folder per person")
    _, identities, counts = np.unique(people, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise InsightError(f"{source}: no identity has two images, so there is no mate to search for")
    return identities.astype(np.int64)


def check_features(probes: Probes, distractors: Distractors) -> None:
    """Raise InsightError if the features have different lengths, or one is zero or not finite."""
    check_shapes(distractors.features, probes.features)
    for part, faces in ((FACESCRUB, probes), (MEGAFACE, distractors)):
        for start in range(0, len(faces.names), ROWS):
            invalid = without_direction(faces.features[start : start + ROWS])
            if invalid.any():
                name = faces.names[start + int(np.argmax(invalid))]
                raise InsightError(
                    f"{part}: the feature of {name} is zero or not finite; the model or the file is damaged"
                )


def noise_of(names: Sequence[str], path: Optional[str]) -> np.ndarray:
    """(N,) bool: whether each image is in a noise list; all False without a list.

    Raises the errors of :func:`.megaface.read_noise_list`.
    """
    return np.zeros(len(names), bool) if path is None else megaface.noisy(names, megaface.read_noise_list(path))


def fused(models: Sequence[np.ndarray]) -> np.ndarray:
    """Fuse the raw embeddings (N, E) of each model in blocks of rows: (N, sum of E) float32 of unit length."""
    features = np.empty((len(models[0]), sum(rows.shape[1] for rows in models)), np.float32)
    for start in range(0, len(features), ROWS):
        block = slice(start, start + ROWS)
        features[block] = megaface.fuse([[rows[block]] for rows in models])
    return features


def marked_noise(features: np.ndarray) -> np.ndarray:
    """(N,) bool: whether the last component is 100, with which ``remove_noises.py`` marks noisy distractors.

    The kit ranks by distance, so that such distractors come last. By cosine they would not, so they must be left out.
    """
    return features[:, -1] == np.float32(megaface.FAR_AWAY)


def clean(probes: Probes, seed: int = 0) -> Probes:
    """Replace noisy probes by :func:`.megaface.clean_probes`; no probe of the result is marked as noisy.

    Raises
    ------
    InsightError
        All images of an identity are noisy.
    """
    people, counts = np.unique(probes.identities[probes.noisy], return_counts=True)
    all_noisy = people[counts == np.bincount(probes.identities)[people]]
    if len(all_noisy):
        name = probes.names[int(np.argmax(probes.identities == all_noisy[0]))]
        raise InsightError(
            f"--facescrub-noises: names all images of the identity of {name}; leave them out of --facescrub-lst, since "
            "none can replace them"
        )
    features = megaface.clean_probes(probes.features, probes.identities, probes.noisy, seed)
    return probes._replace(features=features, noisy=np.zeros(len(features), bool))


def galleries(distractors: Distractors, options: GalleryOptions) -> Iterator[Tuple[str, np.ndarray]]:
    """Yield the title of each gallery and the positions (S,) of its distractors. Noisy distractors are left out.

    Raises
    ------
    InsightError
        A list is missing, or contains an image without a feature.
    """
    if options.lists:
        rows = {featurefiles.end_of(name, 3): row for row, name in enumerate(distractors.names)}
        for size in options.sizes:
            path = os.path.join(options.lists, LIST_OF_SIZE.format(size, options.number))
            chosen = np.array([_row(rows, name, path) for name in read_list(path).names])
            yield f"{len(chosen)} distractors", chosen[~distractors.noisy[chosen]]
        return
    usable = np.flatnonzero(~distractors.noisy)
    shuffled = np.random.default_rng(options.seed).permutation(usable)
    for size in dict.fromkeys(min(size, len(usable)) for size in options.sizes):
        yield f"{size} distractors", np.sort(shuffled[:size])


def _row(rows: dict, name: str, path: str) -> int:
    row = rows.get(featurefiles.end_of(name, 3))
    if row is None:
        raise InsightError(f"{path}: names {name}, which has no feature; give --megaface-lst with all images")
    return row


def evaluate(probes: Probes, distractors: Distractors, options: GalleryOptions) -> List[ProtocolFigure]:
    """Measure ranks and TAR at FAR in each gallery. Probes must be clean (:func:`clean`).

    Raises
    ------
    InsightError
        As raised by :func:`galleries` and :func:`.megaface.evaluate`.
    """
    figures: List[ProtocolFigure] = []
    for title, rows in list(galleries(distractors, options)):
        whole = len(rows) == len(distractors.names)
        faces = distractors.features if whole else distractors.features[rows]
        result = megaface.evaluate(
            probes.features, probes.identities, faces, None, options.ranks, options.fars, f"searching {title}"
        )
        figures += figures_of(title, "rank", result.ranks)
        notes = [f"{result.impostor_pairs} impostor pairs"] * len(result.tar)
        figures += figures_of(title, "TAR@FAR", result.tar, notes)
    return figures


def result(
    cleaned: Probes, distractors: Distractors, options: GalleryOptions, models: Sequence[Dict[str, Any]], noisy: int
) -> ProtocolResult:
    """Measure all metrics, and add the sizes of the set. ``noisy`` is the number of probes that were replaced.

    Raises the errors of :func:`evaluate`.
    """
    counts = {
        "probes": len(cleaned.names),
        "identities": int(cleaned.identities.max()) + 1,
        "distractors": len(distractors.names),
        "noisy probes": noisy,
        "noisy distractors": int(distractors.noisy.sum()),
    }
    chosen = f"of {options.lists}, set {options.number}" if options.lists else f"drawn with seed {options.seed}"
    figures = evaluate(cleaned, distractors, options)
    return ProtocolResult("MegaFace", list(models), {"distractors": chosen}, counts, figures)


def write_raw(path, probes: Probes, distractors: Distractors, ending: str) -> None:
    """Write all features unchanged to a new folder, as ``gen_megaface.py`` does.

    Raises
    ------
    InsightError
        The folder exists and is not empty, or two images would have the same feature file.
    """
    with folder_beside(path) as root:
        featurefiles.write_features(root, FACESCRUB, probes.names, probes.features, ending)
        featurefiles.write_features(root, MEGAFACE, distractors.names, distractors.features, ending)


def write_clean(path, cleaned: Probes, distractors: Distractors, ending: str) -> None:
    """Write cleaned features to a new folder, as ``remove_noises.py`` does.

    They have an additional component, which is 100 for noisy distractors and 0 for all other images. Raises the errors
    of :func:`write_raw`.
    """
    faces = distractors._replace(features=megaface.devkit_features(distractors.features, distractors.noisy))
    write_raw(path, cleaned._replace(features=megaface.devkit_features(cleaned.features)), faces, ending)
