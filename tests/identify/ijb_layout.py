"""A set in the file layout of InsightFace's IJB evaluation, made of any aligned faces."""

import cv2
import numpy as np

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
GALLERIES = {"IJBB": ("S1", "S2"), "IJBC": ("G1", "G2")}
HEADING = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
PHOTO = 200  # pixels; faces are turned, scaled and moved within it


def photo_of(face, rng):
    """A photo (200, 200, 3) with an aligned face (112, 112, 3) somewhere in it, and the face's five points (5, 2)."""
    angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.8, 1.3)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = PHOTO / 2 + rng.uniform(-10, 10, 2) - turn @ [56, 56]
    move = np.hstack([turn, shift[:, None]])
    return cv2.warpAffine(face, move, (PHOTO, PHOTO), borderValue=(90, 120, 60)), TEMPLATE @ turn.T + shift


def write_ijb(root, people, target="IJBC", seed=0):
    """Write ``meta`` and ``loose_crop`` below a folder.

    Each person (a list of at least four faces, BGR) is a gallery template of the first face and two probe templates of
    the others: the second is a still and a video, the rest of the faces. The pairs are all of a gallery template with a
    probe template.
    """
    rng = np.random.default_rng(seed)
    meta, photos = root / "meta", root / "loose_crop"
    meta.mkdir(parents=True)
    photos.mkdir()
    low = target.lower()
    media_lines, point_lines, templates = [], [], []
    number = medium = 0
    for person, faces in enumerate(people):
        gallery, first, second = 10 * person + 3, 10 * person + 7, 10 * person + 8
        templates.append((person, gallery, (first, second)))
        for i, face in enumerate(faces):
            number += 1
            medium += i < 4  # the faces from the fourth on are frames of one video
            photo, points = photo_of(face, rng)
            cv2.imwrite(str(photos / f"{number}.png"), photo)
            template = (gallery, first, second)[min(i, 2)]
            media_lines.append(f"{number}.png {template} {medium}")
            row = " ".join(f"{value:.3f}" for value in points.ravel())
            point_lines.append(f"{number}.png {row} {rng.uniform(0.3, 1):.3f}")
    (meta / f"{low}_face_tid_mid.txt").write_text("\n".join(media_lines) + "\n")
    (meta / f"{low}_name_5pts_score.txt").write_text("\n".join(point_lines) + "\n")
    pairs = [
        f"{gallery} {probe} {int(person == other)}"
        for person, gallery, _ in templates
        for other, _, probes in templates
        for probe in probes
    ]
    (meta / f"{low}_template_pair_label.txt").write_text("\n".join(pairs) + "\n")
    half = len(people) // 2
    for name, part in zip(GALLERIES[target], (templates[:half], templates[half:])):
        rows = [
            "TEMPLATE_ID,SUBJECT_ID,FILENAME",
            *(f"{gallery},{500 + person},img/x.jpg" for person, gallery, _ in part),
        ]
        (meta / f"{low}_1N_gallery_{name}.csv").write_text("\n".join(rows) + "\n")
    rows = [f"{probe},{500 + person},img/x.jpg" for person, _, probes in templates for probe in probes for _ in "ab"]
    (meta / f"{low}_1N_probe_mixed.csv").write_text("\n".join([HEADING, *rows]) + "\n")
    return root
