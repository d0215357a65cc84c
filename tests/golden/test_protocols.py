"""Output of `insight ijb` and `insight megaface` as literals, on sets that are small enough to compute by hand."""

import json
import struct

import numpy as np

from insight.cli import run_command
from insight.faces.embed import Embedded, save

POINTS = "38.295 51.696 73.532 51.501 56.025 71.737 41.549 92.366 70.730 92.204 1.000"
LISTS = {
    "face_tid_mid.txt": "1.jpg 1 1\n2.jpg 2 2\n3.jpg 3 5\n4.jpg 3 5\n5.jpg 4 6\n",
    "name_5pts_score.txt": "".join(f"{i}.jpg {POINTS}\n" for i in range(1, 6)),
    "template_pair_label.txt": "1 3 1\n1 4 0\n2 3 0\n2 4 1\n",
    "1N_gallery_G1.csv": "TEMPLATE_ID,SUBJECT_ID,FILENAME\n1,70,img/1.jpg\n1,70,img/2.jpg\n",
    "1N_gallery_G2.csv": "TEMPLATE_ID,SUBJECT_ID,FILENAME\n2,80,img/3.jpg\n",
    "1N_probe_mixed.csv": "TEMPLATE_ID,SUBJECT_ID,FILENAME\n3,70,img/4.jpg\n4,80,img/5.jpg\n",
}
# Template 3 is a video of (4, 0) and (0, 2): (2, 1). Template 4 is (4, 3). Cosines of pairs: 0.894, 0.8, 0.447, 0.6.
EMBEDDINGS = np.array([[1, 0], [0, 1], [4, 0], [0, 2], [4, 3]], np.float32)
IJB = """\
IJB-C: 5 images, 4 media, 4 templates, 2 genuine pairs, 2 impostor pairs, 2 subjects, 2 probes
settings: flip no, detector_score yes, feature_norm yes
1:1:
  TAR@FAR 1e-06: 0.50000 (at FAR 0)
  TAR@FAR 1e-05: 0.50000 (at FAR 0)
  TAR@FAR 0.0001: 0.50000 (at FAR 0)
  TAR@FAR 0.001: 0.50000 (at FAR 0)
  TAR@FAR 0.01: 0.50000 (at FAR 0)
  TAR@FAR 0.1: 0.50000 (at FAR 0)
  AUC: 0.75000
1:N, galleries joined:
  rank-1: 0.50000
  rank-5: 1.00000
  rank-10: 1.00000
  TPIR@FPIR 0.01: 0.50000
  TPIR@FPIR 0.1: 0.50000
1:N, gallery G1:
  rank-1: 1.00000
  rank-5: 1.00000
  rank-10: 1.00000
  TPIR@FPIR 0.01: 1.00000
  TPIR@FPIR 0.1: 1.00000
1:N, gallery G2:
  rank-1: 1.00000
  rank-5: 1.00000
  rank-10: 1.00000
  TPIR@FPIR 0.01: 1.00000
  TPIR@FPIR 0.1: 1.00000
1:N, both galleries:
  rank-1: 1.00000
  rank-5: 1.00000
  rank-10: 1.00000
  TPIR@FPIR 0.01: 1.00000
  TPIR@FPIR 0.1: 1.00000
"""


def test_ijb(tmp_path, capsys):
    (tmp_path / "meta").mkdir()
    for name, text in LISTS.items():
        (tmp_path / f"meta/ijbc_{name}").write_text(text)
    save(tmp_path / "e.npz", Embedded(EMBEDDINGS, np.array([f"{i}.jpg" for i in range(1, 6)]), np.full(5, -1)))
    arguments = ["--meta", tmp_path / "meta", "--target", "IJBC", "--embeddings", tmp_path / "e.npz", "--flip", "none"]
    assert run_command("ijb", [*map(str, arguments), "--json", str(tmp_path / "f.json")]) == 0
    assert capsys.readouterr().out == IJB
    written = json.loads((tmp_path / "f.json").read_text())
    assert list(written) == ["protocol", "models", "settings", "counts", "figures"]
    assert written["models"] == []
    assert written["figures"][0] == {"part": "1:1", "name": "TAR@FAR", "at": 1e-6, "value": 0.5, "note": "at FAR 0"}


# Identity A at 0 and 20 degrees, B at 90 and 140; distractors at 30, 100, 111 and 180. See tests/identify.
PROBES = {"A/1.png": 0, "A/2.png": 20, "B/1.png": 90, "B/2.png": 140}
DISTRACTORS = {"1/2@N0/a.jpg": 30, "1/2@N0/b.jpg": 100, "1/3@N0/a.jpg": 111, "2/3@N0/a.jpg": 180}
MEGAFACE = """\
MegaFace: 4 probes, 2 identities, 4 distractors, 0 noisy probes, 0 noisy distractors
settings: distractors drawn with seed 0
4 distractors:
  rank-1: 0.25000
  rank-2: 0.50000
  rank-3: 0.75000
  rank-4: 1.00000
  TAR@FAR 0.0625: 0.00000 (16 impostor pairs)
  TAR@FAR 0.1875: 0.50000 (16 impostor pairs)
  TAR@FAR 0.05: not measurable (16 impostor pairs)
"""


def test_megaface(tmp_path, capsys):
    for part, faces in (("facescrub", PROBES), ("megaface", DISTRACTORS)):
        for name, degrees in faces.items():
            path = tmp_path / part / f"{name}_me.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            angle = np.radians(degrees)
            path.write_bytes(struct.pack("<4i2f", 2, 1, 4, 5, np.cos(angle), np.sin(angle)))
    arguments = ["--feature-dir-input", tmp_path, "--algo", "me", "--ranks", "1,2,3,4", "--far", "0.0625,0.1875,0.05"]
    assert run_command("megaface", list(map(str, arguments))) == 0
    assert capsys.readouterr().out == MEGAFACE
