import pytest

from insight.errors import InsightError
from insight.formats.property import Property, read_property, write_property


def test_round_trip_and_bytes(tmp_path):
    write_property(tmp_path, Property(85742, 112, 96))
    assert (tmp_path / "property").read_bytes() == b"85742,112,96"
    assert read_property(tmp_path) == read_property(tmp_path / "property") == (85742, 112, 96)


@pytest.mark.parametrize(
    "text",
    [
        "10,112,112\n",
        " 10 , 112,112 \r\n\r\n",
        "10,112,112\n4000\nshuffled\n2021-06-19 10:00:00.12\n",  # rec2shufrec.py
        "10,112,112\n32\n",  # rec_builder.py
        "10,112,112\n10,112,112\n",
        "10,112,112,\n",
        "10 112 112",
        "10\t112\t112\t\n",
        "10;112;112",
        '"10","112","112"',
        "+10,112.0,0112",
        "1.000000000000000000e+01,1.120000000000000000e+02,1.120000000000000000e+02\n",  # numpy.savetxt
        "num_classes,height,width\n10,112,112\n",
        "# identities, then pixels\n10,112,112  # as packed\n",
    ],
)
@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig", "utf-16"])
def test_a_good_first_line_is_enough(tmp_path, text, encoding):
    (tmp_path / "property").write_bytes(text.encode(encoding))
    assert read_property(tmp_path) == (10, 112, 112)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "10",
        "10,112",
        "10,112,112,3",
        "ten,112,112",
        "10\n112\n112",
        "1_0,112,112",
        "10,112.5,112",
        "text\n10,112,112,3",
        "num_classes,height,width",
        "\0\0\0\0",
    ],
)
def test_other_content_raises(tmp_path, text):
    (tmp_path / "property").write_text(text)
    with pytest.raises(
        InsightError, match="property: want num_classes,height,width on its first line, three integers; found"
    ):
        read_property(tmp_path)


def test_two_lines_that_differ(tmp_path):
    (tmp_path / "property").write_text("10,112,112\n12,112,112\n")
    with pytest.raises(InsightError, match="property: has 10,112,112 and 12,112,112; want one of them"):
        read_property(tmp_path)


@pytest.mark.parametrize("text", ["0,112,112", "-1,112,112", "10,0,112", "10,112,99999"])
def test_values_out_of_range(tmp_path, text):
    (tmp_path / "property").write_text(text)
    with pytest.raises(InsightError, match="want at least one class and sides of"):
        read_property(tmp_path)


def test_missing(tmp_path):
    with pytest.raises(InsightError, match="property: no such file"):
        read_property(tmp_path)
