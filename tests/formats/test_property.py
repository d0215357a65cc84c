import pytest

from insight.errors import InsightError
from insight.formats.property import Property, read_property, write_property


def test_round_trip_and_bytes(tmp_path):
    write_property(tmp_path, Property(85742, 112, 96))
    assert (tmp_path / "property").read_bytes() == b"85742,112,96"
    assert read_property(tmp_path) == read_property(tmp_path / "property") == (85742, 112, 96)


@pytest.mark.parametrize(
    "text", ["10,112,112\n", " 10 , 112,112 \r\n\r\n", "10,112,112\n4000\nshuffled\n2021-06-19 10:00:00.12\n"]
)
def test_white_space_and_rec2shufrec(tmp_path, text):
    (tmp_path / "property").write_text(text)
    assert read_property(tmp_path) == (10, 112, 112)


@pytest.mark.parametrize(
    "text",
    ["", "10", "10,112", "10,112,112,3", "ten,112,112", "10\n112\n112", "-1,112,112", "1e3,112,112", "1,2,3\n4,5,6"],
)
def test_anything_else_is_named(tmp_path, text):
    (tmp_path / "property").write_text(text)
    with pytest.raises(
        InsightError, match="property: want one line with three integers, num_classes,height,width; found"
    ):
        read_property(tmp_path)


@pytest.mark.parametrize("text", ["0,112,112", "10,0,112", "10,112,99999"])
def test_values_out_of_reason(tmp_path, text):
    (tmp_path / "property").write_text(text)
    with pytest.raises(InsightError, match="want at least one class and sides of"):
        read_property(tmp_path)


def test_missing(tmp_path):
    with pytest.raises(InsightError, match="property: No such file"):
        read_property(tmp_path)
