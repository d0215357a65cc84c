"""The faults that dataset-check reports, each with a code, severity, rule and remedy."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ..formats import remedies

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
MAX_SAMPLES = 12  # maximum number of examples kept of each fault

NEAR_BITS = 3  # near duplicates differ in at most this many of the 64 bits of the perceptual hash
NEAR_RMS = 4.0  # and their 32 x 32 grey images by at most this root mean square difference, of 255 levels


class Rule(NamedTuple):
    """A rule that holds for a sound set, and the remedy if it is violated.

    In a remedy, ``{repair}``, ``{renew}`` and ``{rewrite}`` are replaced by the commands of ``formats.remedies``.
    """

    severity: str
    rule: str
    remedy: str


_RENEW = "`{renew}` rebuilds the .idx from the .rec"
_LEAVE_OUT = "fetch or copy the .rec again, or `{rewrite}` skips and lists damaged records"
_MARKS = "`{rewrite}` rewrites header and identity records"
_DROP = "`{rewrite}` skips and lists these images"
_DROP_DEEP = "`{rewrite} --deep` skips and lists these images"
_CONVERT = "write the images with rec2image, list them with dir2lst, pack them with face2rec, which converts them"
_NEAR = f"hashes differ in at most {NEAR_BITS} of 64 bits and the pictures by at most {NEAR_RMS:g} of 255 levels RMS"

RULES: Dict[str, Rule] = {
    # the two files
    "unfinished": Rule(
        ERROR,
        "no writer was killed while it wrote the set",
        "run the writing command again; if that is impossible, `{renew}` rebuilds .idx and property from the .rec",
    ),
    "not-recordio": Rule(ERROR, "a .rec begins with the RecordIO magic 0xced7230a", "give the .rec of the set"),
    "damaged-record": Rule(ERROR, "every record has an intact frame and header", _LEAVE_OUT),
    "truncated-tail": Rule(
        ERROR, "the .rec ends with a complete record, and the .idx lists none past its end", _LEAVE_OUT
    ),
    "idx-missing": Rule(
        ERROR, "there is an .idx beside the .rec; MXNet cannot read the set without it", "`{repair}` writes it"
    ),
    "idx-unreadable": Rule(ERROR, "each line of the .idx is a key, a tab and an offset", _RENEW),
    "idx-duplicate-key": Rule(ERROR, "each key occurs in the .idx once; readers keep one record of it", _RENEW),
    "idx-foreign": Rule(ERROR, "the .idx belongs to this .rec: most of its offsets begin a record", _RENEW),
    "idx-offset": Rule(ERROR, "a record begins at every offset in the .idx", _RENEW),
    "idx-shared-offset": Rule(ERROR, "no two keys name the same record", _RENEW),
    "unnamed-record": Rule(
        WARNING,
        "every record of the .rec has a key; others are never read",
        "nothing, if they were omitted on purpose; else `{renew}` gives all of them a key",
    ),
    "record-id": Rule(
        WARNING,
        "a record's own number is its key; else the .idx may be of another shuffle",
        "nothing, if the records' numbers are independent; if the .idx is of another shuffle, move it away and "
        "`{repair}` makes one from these numbers",
    ),
    "record-order": Rule(
        NOTE,
        "images are in the .rec in the order of their keys; else reads are not sequential",
        "nothing; rec2image, dir2lst and face2rec write a set that is faster to read from a disk",
    ),
    "refused": Rule(ERROR, "the set opens", "follow the message"),
    # header and identity records
    "no-image": Rule(ERROR, "a set holds images", "pack images with face2rec"),
    "header-missing": Rule(ERROR, "a set with identity records has the header record, key 0", _MARKS),
    "header-range": Rule(ERROR, "the header (key 0) gives the keys of the identity records, begin > 1", _MARKS),
    "identity-record": Rule(ERROR, "each key in the header's range is an empty record with two numbers", _MARKS),
    "identity-range": Rule(
        ERROR, "identity records split the images into ranges of one label, without gap or overlap", _MARKS
    ),
    "key-gap": Rule(
        ERROR,
        "images of an indexed set have all keys from 1 up to the first identity record",
        "`{rewrite}` renumbers the images",
    ),
    "stray-key": Rule(
        WARNING,
        "an indexed set has no keys after its identity records; they are never read",
        "`{rewrite}` renumbers the images",
    ),
    # labels and property
    "property-missing": Rule(WARNING, "there is a property beside the .rec", "`{repair}` writes it"),
    "property-unreadable": Rule(
        ERROR, "property is one line, num_classes,height,width", "correct it, or `{renew}` rewrites it"
    ),
    "property-classes": Rule(
        WARNING,
        "property's num_classes is the largest label + 1; classes above get no image",
        "nothing, if the classes are reserved for other images; else `{renew}` rewrites property",
    ),
    "property-size": Rule(
        ERROR, "property's height and width are those of the images", "correct it, or `{renew}` rewrites property"
    ),
    "label-not-integer": Rule(ERROR, "a label is a whole number below 2^31", "`{rewrite}` renumbers the labels"),
    "label-negative": Rule(ERROR, "labels are 0 or more; MXNet's losses silently take -1 for class 0", _DROP),
    "label-out-of-range": Rule(
        ERROR,
        "labels are below property's num_classes; MXNet trains the last class for them or none",
        "`{renew}` rewrites property; if labels are sparse, `{rewrite}` renumbers them",
    ),
    "label-gap": Rule(
        WARNING,
        "each label from 0 to the largest has an image; others train an empty class",
        "`{rewrite}` renumbers the labels",
    ),
    "split-identity": Rule(
        WARNING,
        "the images of a label are contiguous; triplet training takes each run for a person",
        "`{rewrite} --group` puts them together",
    ),
    "one-identity": Rule(WARNING, "training needs two identities or more", "add identities (dataset-merge)"),
    "single-images": Rule(
        NOTE,
        "an identity has two images or more; a single one gives no genuine pair",
        "nothing, or rec2image, dir2lst --min-images 2 and face2rec",
    ),
    # payloads
    "empty-image": Rule(ERROR, "an image record has a payload", _DROP),
    "not-an-image": Rule(ERROR, "a payload is an image that OpenCV decodes", _DROP),
    "truncated-image": Rule(ERROR, "a payload is a complete file; a missing part decodes as grey", _DROP_DEEP),
    "undecodable-image": Rule(ERROR, "a payload decodes", _DROP_DEEP),
    "damaged-image": Rule(ERROR, "a payload decodes without a warning of the decoder", _DROP_DEEP),
    "image-size": Rule(
        ERROR,
        "all images have property's size; a batch cannot hold others",
        "`{rewrite}` skips and lists those of another size; or rec2image, dir2lst and face2rec --image-size "
        "scale them; align them if they are not crops",
    ),
    "grey-jpeg": Rule(WARNING, "a JPEG has three components; readers differ on one", _CONVERT),
    "cmyk-jpeg": Rule(WARNING, "a JPEG has three components; readers differ in the colours of four", _CONVERT),
    "rotated-jpeg": Rule(WARNING, "no Exif rotation; some readers rotate the image and some do not", _CONVERT),
    "unusual-encoding": Rule(
        WARNING, "a payload is an 8-bit Huffman-coded JPEG or an 8-bit RGB PNG; some readers refuse others", _CONVERT
    ),
    "blank-image": Rule(
        WARNING,
        "an image is not one flat colour (standard deviation of 1 level or less)",
        "rec2image, remove these images, dir2lst and face2rec",
    ),
    # duplicates
    "duplicate-image": Rule(
        WARNING, "no two images of an identity have the same bytes", "keep one of each (dataset-clean)"
    ),
    "duplicate-across": Rule(  # label noise, as near-duplicate-across; every large public set has some
        WARNING,
        "no two identities share an image, byte for byte; one of the labels is wrong",
        "merge the identities or remove the image",
    ),
    "near-duplicate": Rule(
        WARNING, f"no two images of an identity are one picture: {_NEAR}", "keep one of each (dataset-clean)"
    ),
    "near-duplicate-across": Rule(
        WARNING, f"no two identities share a picture: {_NEAR}", "merge the identities or remove the picture"
    ),
    "test-overlap": Rule(
        ERROR,
        "no image of an excluded set is in this one, byte for byte; accuracy on it would be too high",
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
    """An example of a fault: the record's key (None if it has none), the detail, and encoded images."""

    key: Optional[int]
    found: str
    pictures: Tuple[bytes, ...] = ()


@dataclass
class Finding:
    """All faults of one kind: their number and the first examples. ``set_path`` is the path given by the user."""

    code: str
    set_path: str
    count: int = 0
    samples: List[Sample] = field(default_factory=list)

    @property
    def rule(self) -> Rule:
        return RULES[self.code]

    @property
    def severity(self) -> str:
        return self.rule.severity

    @property
    def remedy(self) -> str:
        """The action to take, with complete commands in backquotes."""
        return self.rule.remedy.format(
            repair=remedies.in_place(self.set_path),
            renew=remedies.in_place(self.set_path, overwrite=True),
            rewrite=remedies.into_new(self.set_path),
        )

    def as_dict(self) -> Dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "count": self.count,
            "rule": self.rule.rule,
            "remedy": self.remedy,
            "keys": [sample.key for sample in self.samples if sample.key is not None],
            "samples": [{"key": sample.key, "found": sample.found} for sample in self.samples],
        }


class Findings:
    """Collects faults by code. Only the first examples are kept, so memory is bounded."""

    def __init__(self, set_path: str = "SET") -> None:
        self._set_path = os.fspath(set_path)
        self._by_code: Dict[str, Finding] = {}

    def add(self, code: str, key: Optional[int], found: str, *pictures: Picture) -> None:
        """Count one occurrence. ``pictures`` are copied if the occurrence is kept as an example."""
        finding = self._by_code.setdefault(code, Finding(code, self._set_path))
        finding.count += 1
        if len(finding.samples) < MAX_SAMPLES:
            finding.samples.append(Sample(key, found, tuple(map(bytes, pictures))))

    def add_all(
        self, code: str, rows: Sequence[int], sample: Callable[[int], tuple], total: Optional[int] = None
    ) -> None:
        """Count one occurrence per row, or ``total``; ``sample(row)`` returns the other arguments of :meth:`add`."""
        for row in rows[:MAX_SAMPLES]:
            self.add(code, *sample(int(row)))
        if len(rows):
            self._by_code[code].count += (len(rows) if total is None else total) - min(len(rows), MAX_SAMPLES)

    def adopt(self, code: str, finding: Finding) -> None:
        """Add a finding that was collected separately, under its final code."""
        self._by_code[code] = Finding(code, self._set_path, finding.count, finding.samples)

    def __contains__(self, code: str) -> bool:
        return code in self._by_code

    def any_of(self, *codes: str) -> bool:
        return any(code in self._by_code for code in codes)

    def first(self, *codes: str) -> List[str]:
        """Return the detail of the first example of each of the codes that occurred."""
        return [self._by_code[code].samples[0].found for code in codes if code in self._by_code]

    @property
    def errors(self) -> int:
        return sum(finding.severity == ERROR for finding in self._by_code.values())

    def sorted(self) -> List[Finding]:
        """Return the findings by severity, errors first, and then in the order of the rules."""
        order = list(RULES)
        return sorted(self._by_code.values(), key=lambda f: (SEVERITIES.index(f.severity), order.index(f.code)))
