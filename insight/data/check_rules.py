"""What dataset-check can find: a code for each fault, how bad it is, its rule, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
MAX_SAMPLES = 12  # examples that are kept of each fault, whatever its count

NEAR_BITS = 3  # of 64 bits of the perceptual hash that may differ
NEAR_RMS = 4.0  # grey levels of 255 by which the 32 x 32 pictures may differ, root mean square


class Rule(NamedTuple):
    """``rule`` is what holds in a sound set; ``remedy`` what to do where it does not."""

    severity: str
    rule: str
    remedy: str


_REPACK = "pack the set again with face2rec"
_FETCH = "fetch or copy the .rec and the .idx again, or pack the set again"
_DROP = "remove these images and pack the set again (rec2image, face2rec)"
_NEAR = f"hashes differ in at most {NEAR_BITS} of 64 bits and the pictures by at most {NEAR_RMS:g} of 255 levels RMS"

RULES: Dict[str, Rule] = {
    # the two files
    "unfinished": Rule(ERROR, "no writer was killed while it put the set there", "run the writing command again"),
    "not-recordio": Rule(ERROR, "a .rec begins with the RecordIO magic 0xced7230a", "give the .rec of the set"),
    "damaged-record": Rule(ERROR, "every record has an intact frame and header", _FETCH),
    "truncated-tail": Rule(ERROR, "the .rec ends with a whole record, and the .idx names none behind its end", _FETCH),
    "idx-missing": Rule(ERROR, "an .idx stands beside the .rec; MXNet cannot read the set without", _REPACK),
    "idx-unreadable": Rule(ERROR, "each line of the .idx is a key, a tab and an offset", _FETCH),
    "idx-duplicate-key": Rule(ERROR, "each key stands in the .idx once; readers keep one record of it", _REPACK),
    "idx-foreign": Rule(ERROR, "the .idx belongs to this .rec: most of its offsets begin a record", _FETCH),
    "idx-offset": Rule(ERROR, "every offset in the .idx is where a record begins", _FETCH),
    "idx-shared-offset": Rule(ERROR, "no two keys name the same record", _FETCH),
    "unnamed-record": Rule(WARNING, "every record of the .rec has a key; others are never read", _REPACK),
    "record-id": Rule(WARNING, "a record's own number is its key; else the .idx may be of another shuffle", _FETCH),
    "record-order": Rule(
        NOTE,
        "images stand in the .rec in the order of their keys; else reading jumps",
        "nothing, or pack again to read faster from a disk",
    ),
    "refused": Rule(ERROR, "the set opens", "follow the message; " + _REPACK),
    # header and identity records
    "no-image": Rule(ERROR, "a set holds images", _REPACK),
    "header-missing": Rule(ERROR, "a set with identity records has the header record, key 0", _REPACK),
    "header-range": Rule(ERROR, "the header (key 0) gives the keys of the identity records, begin > 1", _REPACK),
    "identity-record": Rule(ERROR, "each key in the header's range is an empty record with two numbers", _REPACK),
    "identity-range": Rule(
        ERROR, "identity records cut the images into ranges of one label, without gap or overlap", _REPACK
    ),
    "key-gap": Rule(ERROR, "images of an indexed set have all keys from 1 up to the first identity record", _REPACK),
    "stray-key": Rule(WARNING, "an indexed set has no keys behind its identity records; they are never read", _REPACK),
    # labels and property
    "property-missing": Rule(
        WARNING, "property stands beside the .rec", "write it: one line, num_classes,height,width"
    ),
    "property-unreadable": Rule(ERROR, "property is one line, num_classes,height,width", "write it anew"),
    "property-classes": Rule(
        WARNING,
        "property's num_classes is the largest label + 1; classes above get no image",
        "correct property, or pack again",
    ),
    "property-size": Rule(ERROR, "property's height and width are those of the images", "correct property"),
    "label-not-integer": Rule(ERROR, "a label is a whole number below 2^31", _REPACK),
    "label-negative": Rule(ERROR, "labels are 0 or more; MXNet's losses take -1 for class 0 without a word", _REPACK),
    "label-out-of-range": Rule(
        ERROR,
        "labels are below property's num_classes; MXNet trains the last class for them or none",
        "correct property, or pack the set again",
    ),
    "label-gap": Rule(
        WARNING,
        "each label from 0 to the largest has an image; others train an empty class",
        "renumber the labels and pack again (rec2image, dir2lst, face2rec)",
    ),
    "split-identity": Rule(
        WARNING,
        "the images of a label stand together; triplet training takes each run for a person",
        "sort the list by label and pack again",
    ),
    "one-identity": Rule(WARNING, "training needs two identities or more", "add identities"),
    "single-images": Rule(
        NOTE,
        "an identity has two images or more; a single one gives no genuine pair",
        "nothing, or dir2lst --min-images 2",
    ),
    # payloads
    "empty-image": Rule(ERROR, "an image record has a payload", _DROP),
    "not-an-image": Rule(ERROR, "a payload is a JPEG, PNG, BMP or WebP file", _DROP),
    "truncated-image": Rule(ERROR, "a payload is a whole file; the rest of a cut one decodes as grey", _DROP),
    "undecodable-image": Rule(ERROR, "a payload decodes", _DROP),
    "damaged-image": Rule(ERROR, "a payload decodes without a warning of the decoder", _DROP),
    "image-size": Rule(
        ERROR,
        "all images have property's size; a batch cannot hold others",
        "pack again with face2rec, which scales them; align them if they are no crops",
    ),
    "grey-jpeg": Rule(WARNING, "a JPEG has three components; readers differ on one", "pack again with face2rec"),
    "cmyk-jpeg": Rule(
        WARNING, "a JPEG has three components; readers differ in the colours of four", "pack again with face2rec"
    ),
    "rotated-jpeg": Rule(
        WARNING, "no Exif rotation; some readers turn the image and some do not", "pack again with face2rec"
    ),
    "unusual-encoding": Rule(
        WARNING,
        "a payload is an 8-bit Huffman-coded JPEG or an 8-bit RGB PNG; not every reader knows others",
        "pack again with face2rec",
    ),
    "blank-image": Rule(WARNING, "an image is not one flat colour (standard deviation of 1 level or less)", _DROP),
    # duplicates
    "duplicate-image": Rule(WARNING, "no two images of an identity have the same bytes", "keep one of each"),
    "duplicate-across": Rule(  # noise in the labels, as near-duplicate-across is; every large public set has some
        WARNING,
        "no two identities share an image, byte for byte; one of the labels is wrong",
        "merge the identities or remove the image",
    ),
    "near-duplicate": Rule(WARNING, f"no two images of an identity are one picture: {_NEAR}", "keep one of each"),
    "near-duplicate-across": Rule(
        WARNING, f"no two identities share a picture: {_NEAR}", "merge the identities or remove the picture"
    ),
    "test-overlap": Rule(
        ERROR,
        "no image of an excluded set is in this one, byte for byte; accuracy on it would be flattered",
        "remove the identity (dataset-merge --exclude)",
    ),
    "test-near-overlap": Rule(
        WARNING,
        f"no picture of an excluded set is in this one: {_NEAR}",
        "remove the identity (dataset-merge --exclude)",
    ),
}

Picture = Union[bytes, memoryview]


@dataclass
class Sample:
    """One example: the record's key (None where a file is meant), what was found, encoded pictures."""

    key: Optional[int]
    found: str
    pictures: Tuple[bytes, ...] = ()


@dataclass
class Finding:
    """A fault of one kind: how often it occurs, and its first examples."""

    code: str
    count: int = 0
    samples: List[Sample] = field(default_factory=list)

    @property
    def rule(self) -> Rule:
        return RULES[self.code]

    @property
    def severity(self) -> str:
        return self.rule.severity

    def as_dict(self) -> Dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "count": self.count,
            "rule": self.rule.rule,
            "remedy": self.rule.remedy,
            "keys": [sample.key for sample in self.samples if sample.key is not None],
            "samples": [{"key": sample.key, "found": sample.found} for sample in self.samples],
        }


class Findings:
    """Faults by code, as they are met. Memory is bounded: only the first examples are kept."""

    def __init__(self) -> None:
        self._by_code: Dict[str, Finding] = {}

    def add(self, code: str, key: Optional[int], found: str, *pictures: Picture) -> None:
        """Count one occurrence; ``pictures`` are copied if it becomes an example."""
        finding = self._by_code.setdefault(code, Finding(code))
        finding.count += 1
        if len(finding.samples) < MAX_SAMPLES:
            finding.samples.append(Sample(key, found, tuple(map(bytes, pictures))))

    def add_all(
        self, code: str, rows: Sequence[int], sample: Callable[[int], tuple], total: Optional[int] = None
    ) -> None:
        """Count an occurrence per row, or ``total``; ``sample(row)`` gives what :meth:`add` takes behind the code."""
        for row in rows[:MAX_SAMPLES]:
            self.add(code, *sample(int(row)))
        if len(rows):
            self._by_code[code].count += (len(rows) if total is None else total) - min(len(rows), MAX_SAMPLES)

    def adopt(self, code: str, finding: Finding) -> None:
        """Take over what was collected before it was clear which code it deserves."""
        self._by_code[code] = Finding(code, finding.count, finding.samples)

    def __contains__(self, code: str) -> bool:
        return code in self._by_code

    def any_of(self, *codes: str) -> bool:
        return any(code in self._by_code for code in codes)

    @property
    def errors(self) -> int:
        return sum(finding.severity == ERROR for finding in self._by_code.values())

    def sorted(self) -> List[Finding]:
        """Errors first; within a severity in the order of the rules."""
        order = list(RULES)
        return sorted(self._by_code.values(), key=lambda f: (SEVERITIES.index(f.severity), order.index(f.code)))
