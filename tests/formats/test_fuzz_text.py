"""Mutated text files: each one is read, or raises one line that names file, line and rule.

INSIGHT_FUZZ_TEXT=10000 sets the number of mutations of each format; 250 without it.
"""

import json
import os
import random
import re

import numpy as np
import pytest

from insight.errors import InsightError
from insight.formats import ncnnparam
from insight.formats.idx import read_idx
from insight.formats.labelmap import read_label_map
from insight.formats.lst import read_lst
from insight.formats.property import read_property
from insight.identify import ijb, megaface
from insight.identify.facelist import read_list
from insight.identify.ijb_set import read_points
from insight.runs import lineage
from insight.runs.logfiles import read_log
from insight.sets.glint import glint_entries
from insight.sets.pairfile import read_pairs

COUNT = int(os.environ.get("INSIGHT_FUZZ_TEXT", "250"))
POINTS = "38.5 51.7 73.5 51.5 56 71.7 41.5 92.4 70.7 92.2"
TAIL = "\t".join(["0", "0", "0", "0", *POINTS.split()])
STAGE = {
    "name": "a/m",
    "log": "m",
    "started": 1.5,
    "set_fingerprint": "4a",
    "options": {"lr": 0.1},
    "steps": 5,
    "versions": {},
}


def log_of(path):
    log = read_log(path, "log")
    curves = [*log.curves.values(), *(curve for target in log.targets.values() for curve in target), log.saved]
    return repr([[array.tolist() for array in curve.arrays()] for curve in curves]), log.best(), log.last_step()


def arrays(read):
    return lambda path: [np.asarray(column).tolist() for column in read(path)]


# Format -> a valid file, its name, and its reader. All names are without blanks at their ends.
FORMATS = {
    "lst": (
        "1\tx y/é.jpg\t0\n1\tb.jpg\t12\n1\tb.jpg\t12\t1\t2\t30\t40\n" + f"0\tc.jpg\t7\t{TAIL}\n",
        "a.lst",
        read_lst,
    ),
    "lst of im2rec": ("".join(f"{i}\t{i // 2}.000000\tn{i}/a é.jpg\n" for i in range(5)), "a.lst", read_lst),
    "property": ("85742,112,112\n5822653\n", "property", read_property),
    "pairs": (
        "image_a,image_b,same\na/é 1.jpg,b.jpg,1\na.jpg,c.jpg,0\nb.jpg,c.jpg,-1\n",
        "p.csv",
        lambda p: read_pairs(p, ""),
    ),
    "pairs of LFW": ("2\t1\nAnn_Lee\t1\t4\nAnn_Lee\t1\tBo\t3\n", "p.txt", lambda p: read_pairs(p, "")),
    "landmarks": (
        f"a/b c.jpg 77 {POINTS}\na/é.png 5 {POINTS}\n",
        "d_lmk",
        lambda p: list(glint_entries(os.path.dirname(p), ["d"])),
    ),
    "landmarks without labels": (
        f"a/b.jpg {POINTS}\na/c 12.jpg {POINTS}\n",
        "d_lmk.txt",
        lambda p: list(glint_entries(os.path.dirname(p), ["d"])),
    ),
    "log": (
        "INFO:root:Epoch[0] Batch [20]\tSpeed: 224.07 samples/sec\tacc=0.27\tlossvalue=11.5\n"
        "lr-batch-epoch: 0.1 999 0\n[lfw][1000]XNorm: 6.325816\n[lfw][1000]Accuracy-Flip: 0.90750+-0.00704\nsaving 1\n"
        "lr-batch-epoch: 0.01 399 1\nINFO:root:Epoch[1] Batch [420]\tSpeed: 30 samples/sec\tacc=nan\n"
        "{fc7_acc} 30 0.25\n",
        "train.log",
        log_of,
    ),
    "log of train-softmax": (
        "".join(
            json.dumps(row) + "\n"
            for row in (
                {"kind": "start", "options": {"lr": 0.1}},
                {"kind": "step", "step": 10, "loss": 9.5, "acc": None, "lr": 0.1, "speed": 80.0},
                {"kind": "verification", "step": 10, "target": "lfw", "accuracy": 0.9, "std": 0.01, "xnorm": 5.0},
                {"kind": "saved", "step": 10, "number": 1, "path": "m-0001.params"},
            )
        ),
        "m-log.jsonl",
        log_of,
    ),
    "label map": ("label,name\n0,Ann Lee\n1,Żak\n2,10\n", "m.csv", read_label_map),
    "idx": ("".join(f"{i}\t{i * 44}\n" for i in (*range(1, 9), 0)), "a.idx", arrays(read_idx)),
    "IJB media": ("1.jpg 7 69544\n2.jpg 8 -3\n", "media.txt", arrays(ijb.read_media)),
    "IJB pairs": ("1 11065 1\n1 11066 0\n", "pairs.txt", arrays(ijb.read_pairs)),
    "IJB subjects": ("TEMPLATE_ID,SUBJECT_ID,FILENAME\n3,201,img/1.jpg\n", "g.csv", arrays(ijb.read_subjects)),
    "IJB points": (f"1.jpg {POINTS} 0.999\né/2.jpg {POINTS} 1\n", "points.txt", arrays(read_points)),
    "list of images": ("Adam_Sandler/Adam_Sandler_1.png\n4/1@N0/é.jpg\n", "facescrub_lst", read_list),
    "list of the kit": ('{"id": ["A", "B"], "path": ["A/1.png", "B/1.png"]}\n', "features_list.json", read_list),
    "noise list": ("# remark\nAdam_Sandler_2.png\n1\t100/100@N0/1.jpg\n", "noises.txt", megaface.read_noise_list),
    "ncnn": ("7767517\n2 3\nInput data 0 1 data 0=112 1=96 2=3\nSplit s 1 2 data a b\n", "m.param", ncnnparam.read),
    "lineage": (
        json.dumps({"version": 1, "epoch": 0, "stages": [STAGE]}) + "\n",
        "m-lineage.json",
        lambda p: lineage.stages(p.removesuffix("-lineage.json")),
    ),
}
NUMBERS = (
    "1.0",
    "+1",
    "007",
    "1e3",
    "-1",
    "1.5",
    "nan",
    "inf",
    "1_0",
    "٣",
    "0x1",
    "9" * 19,
    "9" * 400,
    "1e999",
    "",
    "-0",
    "1,5",
)
TEXTS = (
    "\0",
    "\ufeff",
    "\x1a",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\t",
    "\t\t",
    " ",
    ",",
    ";",
    '"',
    "#",
    "\\",
    "{",
    "\n",
    "\r",
    "é",
    "\udce9",
)
SEPARATOR = re.compile(r"[\t,; ]")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp037")


def change_text(text, rng):
    """One change that a program or a person may make."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(12)
    if kind == 0:
        return text.replace("\n", rng.choice(("\r\n", "\r", "  \n", "\t\n", "\n\n", "")))
    if kind == 1:
        return SEPARATOR.sub(rng.choice(("\t", ",", ";", " ", "  ", "|", "")), text)
    if kind in (2, 3):
        matches = list(NUMBER.finditer(text)) or [re.match("", text)]
        match = rng.choice(matches)
        return text[: match.start()] + rng.choice(NUMBERS) + text[match.end() :]
    if kind == 4:
        place = rng.randrange(len(text) + 1)
        return text[:place] + rng.choice(TEXTS) + text[place:]
    if kind == 5:
        place = rng.randrange(len(text) + 1)
        return text[:place] + text[place + rng.choice((1, 3, 20)) :]
    if kind == 6:
        return text[: rng.randrange(len(text) + 1)]
    if kind == 7:
        return rng.choice((str.upper, str.lower, str.title))(text)
    if kind == 8:
        lines[at : at + 1] = rng.choice(
            ([], [lines[at]] * 2, ["", lines[at]], ["# x", lines[at]], ["a b c", lines[at]])
        )
    else:
        fields = re.split(r"([\t,; ])", lines[at])
        field = rng.randrange(len(fields))
        quoted = f'"{fields[field]}"'
        fields[field : field + 1] = rng.choice(
            ([], [fields[field]] * 3, [quoted], ['"' + fields[field]], ["x"], [*fields, "\t"])
        )
        lines[at] = "".join(fields)
    return "\n".join(lines)


def change_bytes(data, rng):
    """One fault of a disk or a transfer."""
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.randbytes(rng.choice((1, 4, 40))) + data[at:]
    if kind == 2:
        return data[:at] + data[at + rng.choice((1, 4, 40)) :]
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if at < len(data) else data


def mutated(text, rng):
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        text = change_text(text, rng)
    encoding = rng.choice(ENCODINGS)
    data = text.encode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "replace")
    for _ in range(rng.choice((0, 0, 1, 3))):
        data = change_bytes(data, rng)
    return data


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_are_read_or_raise_one_line(tmp_path, name):
    text, file, read = FORMATS[name]
    path = str(tmp_path / file)
    rng = random.Random(name)
    refused = 0
    for _ in range(COUNT):
        data = mutated(text, rng)
        with open(path, "wb") as out:
            out.write(data)
        try:
            read(path)
        except InsightError as error:
            refused += 1
            message = str(error)
            match = re.match(re.escape(path) + r"(?::(\d+))?: ", message)
            assert match, (message, data)
            assert "want " in message, message
            assert len(message.splitlines()) == 1 and len(message) < len(path) + 500, message
            assert match.group(1) is None or 1 <= int(match.group(1)) <= 1 + len(re.findall(rb"\n|\r", data)), message
    assert 0 < refused < COUNT


def plain_variation(text, rng):
    """The same content in the layout of another program."""
    ending = rng.choice(("\n", "\r\n", "\r"))
    lines = [line + rng.choice(("", "", " ", "\t", "  \t")) for line in text.split("\n")]
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(("", " ", "\t ")))
    text = ending.join(lines)
    text = text.rstrip() if rng.random() < 0.3 else text
    return rng.choice(("", "\ufeff")).encode("utf-8") + text.encode() if rng.random() < 0.5 else text.encode("utf-16")


@pytest.mark.parametrize("name", FORMATS)
def test_plain_variations_read_as_the_original(tmp_path, name):
    text, file, read = FORMATS[name]
    path = str(tmp_path / file)
    (tmp_path / file).write_text(text, encoding="utf-8")
    want = read(path)
    rng = random.Random(name)
    for _ in range(COUNT):
        data = plain_variation(text, rng)
        with open(path, "wb") as out:
            out.write(data)
        assert trimmed(read(path)) == want, data


def trimmed(result):
    """Entries of a list without blanks around their paths; the exact path is tried first. Other results unchanged."""
    if not isinstance(result, list) or not all(hasattr(entry, "path") for entry in result):
        return result
    return [entry._replace(path=entry.path.strip()) for entry in result]
