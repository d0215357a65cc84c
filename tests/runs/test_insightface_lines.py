"""InsightFace's lines: the bytes of each kind, and that what is written is read."""

import math

import pytest

from insight.runs import insightface_lines
from insight.runs.insightface_lines import AccuracyLine, BatchLine, RateLine, SavingLine, XNormLine

CLASSIFICATION = {"loss": 5.25, "acc": 0.25, "acc_free": 0.5}
GOLDEN = [
    (
        BatchLine(0, 20, 101.5, {**CLASSIFICATION, "wait": 0.002}),
        "INFO:root:Epoch[0] Batch [20]\tSpeed: 101.50 samples/sec\tacc=0.250000\tloss=5.2500\tacc-nomargin=0.500000"
        "\twait=0.2%",
    ),
    (
        BatchLine(33, 7431, 0.5, {**CLASSIFICATION, "wait": 0.0, "cpu": 0.57, "skipped": 2}),
        "INFO:root:Epoch[33] Batch [7431]\tSpeed: 0.50 samples/sec\tacc=0.250000\tloss=5.2500\tacc-nomargin=0.500000"
        "\twait=0.0%\tcpu=57%\tskipped=2",
    ),
    (
        BatchLine(1, 40, 9.0, {"triplets": 35.5, "wait": 0.25, "loss": 0.125, "hard-share": 1e-07, "n": 123456}),
        "INFO:root:Epoch[1] Batch [40]\tSpeed: 9.00 samples/sec\tloss=0.1250\ttriplets=35.5\thard-share=1e-07"
        "\tn=123456\twait=25.0%",
    ),
    (BatchLine(0, 20, 101.5, {}), "INFO:root:Epoch[0] Batch [20]\tSpeed: 101.50 samples/sec"),
    (RateLine(0.01, 534, 15), "lr-batch-epoch: 0.01 534 15"),
    (RateLine(1e-05, 0, 0), "lr-batch-epoch: 1e-05 0 0"),
    (SavingLine(56), "saving 56"),
]
VERIFIED = [
    (XNormLine("lfw", 112000, 11.147283), "[lfw][112000]XNorm: 11.147283"),
    (AccuracyLine("agedb_30", 2000, 0.95067, 0.00907), "[agedb_30][2000]Accuracy-Flip: 0.95067+-0.00907"),
]


@pytest.mark.parametrize(("line", "text"), GOLDEN)
def test_a_line_is_written_and_read(line, text):
    assert line.format() == text
    assert type(line).parse(text) == line
    assert type(line).parse(f"[2018-05-09 02:28:45]  {text}\n") == line


@pytest.mark.parametrize(("line", "text"), VERIFIED)
def test_a_line_of_a_verification_is_written_and_read(line, text):
    assert line.format() == text
    assert list(type(line).parse(text)) == [line]
    assert list(type(line).parse(f"10:00 {text}{text} (12000, 128)\n")) == [line, line]


def test_no_kind_reads_another():
    for line, text in GOLDEN + VERIFIED:
        for other in {BatchLine, RateLine, SavingLine, XNormLine, AccuracyLine} - {type(line)}:
            assert not list(other.parse(text) or ()), (other, text)


def test_figures_that_are_not_finite():
    line = BatchLine(0, 1, 1.0, {"loss": math.nan, "acc": math.inf, "triplets": -math.inf})
    values = BatchLine.parse(line.format()).values
    assert math.isnan(values["loss"])
    assert (values["acc"], values["triplets"]) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (BatchLine(0, 40, 9.5, {"loss": 11.5}), "Epoch[0] Batch [20-40]\tSpeed: 9.5 samples/sec\tlossvalue=11.5"),
        (BatchLine(0, 20, 932.0, {"acc": 0.25}), "Epoch[0] Batch [20]   Speed: 932 samples/sec   Train-acc=0.25"),
        (RateLine(0.1, 999, 0), "('lr-batch-epoch:', 0.1, 999, 0)"),
        (SavingLine(3), "('saving', 3)"),
    ],
)
def test_lines_of_other_versions(line, text):
    assert type(line).parse(text) == line


def test_an_accuracy_without_deviation_and_a_sharded_one():
    (line,) = AccuracyLine.parse("[lfw][1]Accuracy-Flip: 0.5")
    assert line[:3] == ("lfw", 1, 0.5) and math.isnan(line.std)
    assert insightface_lines.parse_sharded_accuracy("('{fc7_acc}', 30, 0.25)") == (30, 0.25)
    assert insightface_lines.parse_sharded_accuracy("fc7_acc 30 0.25") is None


def test_lines_that_are_only_written():
    assert insightface_lines.TESTING == "testing verification.."
    assert insightface_lines.shape_line(12000, 128) == "(12000, 128)"
    assert insightface_lines.infer_time_line(12.9468391) == "infer time 12.946839"
    assert insightface_lines.highest_line(1000, 0.9075) == "[1000]Accuracy-Highest: 0.90750"
