"""ncnn's text form, byte for byte, and files that are not valid."""

import pytest

from insight.errors import InsightError
from insight.formats import ncnnparam
from insight.formats.ncnnparam import NcnnLayer

TEXT = (
    "7767517\n"
    "4 5\n"
    "Input                    data                     0 1 data 0=112 1=96 2=3\n"
    "Split                    s                        1 2 data a b\n"
    "BinaryOp                 plus                     2 1 a b c 0=0\n"
    "Convolution              conv                     1 1 c fc1 0=8 1=3 4=-233 -23309=2,0.5,1e-3\n"
)


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "m.param").write_text(text)
        return tmp_path / "m.param"

    return write


def test_a_file(file):
    layers = ncnnparam.read(file(TEXT))
    assert layers[2] == NcnnLayer("BinaryOp", "plus", ["a", "b"], ["c"], {0: "0"})
    assert layers[3].params == {0: "8", 1: "3", 4: "-233", -23309: "2,0.5,1e-3"}
    assert (layers[3].number(4), layers[3].number(5, 7), layers[3].number(-23309)) == (-233, 7, 0)
    assert ncnnparam.inputs(layers) == [NcnnLayer("Input", "data", [], ["data"], {0: "112", 1: "96", 2: "3"})]
    assert ncnnparam.outputs(layers) == ["fc1"]
    assert ncnnparam.text_of(layers) == TEXT


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\r\n", "\r", "  \n"])
def test_other_encodings_and_line_ends(file, tmp_path, encoding, ending):
    want = ncnnparam.read(file(TEXT))
    (tmp_path / "m.param").write_bytes(TEXT.replace("\n", ending).encode(encoding))
    assert ncnnparam.read(tmp_path / "m.param") == want


def test_its_weights_are_beside_it():
    assert ncnnparam.weights_path("a.b/m.ncnn.param").as_posix() == "a.b/m.ncnn.bin"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.param: not a .param of ncnn in text form .begins with nothing, want 7767517"),
        ('{"nodes": []}\n', "begins with '{\"nodes\": ..}'"),
        ("7767517\n", "has 0 layers, and its second line says nothing"),
        (TEXT[: TEXT.index("Convolution")], "has 3 layers, and its second line says 4; it is truncated"),
        (TEXT[:-60], "m.param:6: want a layer: .*found 'Convolution"),
        (TEXT.replace(" 2 1 a b c 0=0", " 2 -1 a b c"), "m.param:5: want a layer"),
        (TEXT.replace(" 2 1 a b c 0=0", " two 1 a b c"), "m.param:5: want a layer"),
        (TEXT.replace("0=0\n", "x=0\n"), "m.param:5: want a layer"),
    ],
)
def test_invalid_files(file, text, message):
    with pytest.raises(InsightError, match=message):
        ncnnparam.read(file(text))


def test_a_missing_or_binary_file(tmp_path):
    with pytest.raises(InsightError, match="m.param: no such file"):
        ncnnparam.read(tmp_path / "m.param")
    (tmp_path / "m.param").write_bytes(b"\xdd\x85\x76\x00" * 9)  # the binary form begins with the same number
    with pytest.raises(InsightError, match="not a .param of ncnn in text form"):
        ncnnparam.read(tmp_path / "m.param")
