"""Where a checkpoint comes from: read from logs through all stages, kept beside what ships, and back."""

import json
import os

import pytest

from insight.errors import InsightError
from insight.files.commit import commit_together
from insight.runs import lineage


def row(kind, time, **values):
    return json.dumps({"kind": kind, "time": time, **values})


def start(time, prefix, pretrained="", steps=100, **values):
    options = {"data_dir": "/home/me/secret/faces/", "prefix": prefix, "pretrained": pretrained, "lr": 0.1}
    return row("start", time, options=options, set=f"hash{time}", steps=steps, **values)


def saved(time, number, step):
    return row("saved", time, step=step, number=number, path="somewhere")


def log(prefix, *lines):
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}-log.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def three(tmp_path):
    """softmax,2 -> arcface,1 -> finetune,3, the paths of its options relative to the folder of the recipe."""
    log(tmp_path / "m/softmax/net", start(10, "m/softmax/net"), saved(11, 1, 50), saved(12, 2, 100))
    arc = start(20, "m/arcface/net", "m/softmax/net,2", versions={"mxnet": "1.9.1"})
    log(tmp_path / "m/arcface/net", arc, saved(21, 1, 60), saved(22, 2, 100))
    log(tmp_path / "m/finetune/net", start(30, "m/finetune/net", "m/arcface/net,1"), saved(31, 3, 100))
    return tmp_path


def write(prefix, epoch, stages, overwrite=True):
    """As an exporter does: the lineage appears with the model's own file."""
    folder, name = os.path.split(prefix)
    with commit_together(folder, [f"{name}.model"], overwrite) as staging:
        staging.path(f"{name}.model").touch()
        lineage.add(staging, prefix, stages, epoch)


def brief(stages):
    return [(stage.name, stage.steps, stage.set_fingerprint) for stage in stages]


THREE = [("softmax/net", 100, "hash10"), ("arcface/net", 60, "hash20"), ("finetune/net", 100, "hash30")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_that_an_editor_saved(three, encoding):
    for path in (three / "m/finetune/net-log.jsonl", three / "m/arcface/net-log.jsonl"):
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert brief(lineage.stages(f"{three}/m/finetune/net", 3)) == THREE
    write(f"{three}/s", 3, lineage.stages(f"{three}/m/finetune/net", 3))
    (three / "s-lineage.json").write_bytes((three / "s-lineage.json").read_text().encode(encoding))
    assert brief(lineage.stages(f"{three}/s", 3)) == THREE


def test_numbers_that_no_calendar_or_step_has(three):
    path = three / "m/finetune/net-log.jsonl"
    path.write_text(path.read_text() + '{"kind": "saved", "time": 32, "step": Infinity, "number": 4}\n' + "[" * 100_000)
    assert brief(lineage.stages(f"{three}/m/finetune/net", 3)) == THREE
    (three / "s-lineage.json").write_text("[" * 100_000)
    with pytest.raises(InsightError, match=r"s-lineage\.json: not a lineage of version 1"):
        lineage.stages(f"{three}/s", 3)


def test_stages_of_a_recipe_wherever_it_stands_now(three):
    found = lineage.stages(f"{three}/m/finetune/net", 3)
    assert brief(found) == THREE
    assert found[1].started == 20.0
    assert found[1].versions == {"mxnet": "1.9.1"}
    assert found[1].log == f"{three}/m/arcface/net-log.jsonl"
    assert found[2].options["data_dir"] == "/home/me/secret/faces/"
    assert found[2].versions == {}
    (three / "m").rename(three / "moved")
    assert brief(lineage.stages(f"{three}/moved/finetune/net", 3)) == THREE


def test_a_stage_named_by_its_whole_path(three):
    log(three / "elsewhere/net", start(40, "run/net", f"{three}/m/softmax/net,1"), saved(41, 1, 7))
    assert brief(lineage.stages(f"{three}/elsewhere/net", 1)) == [
        ("softmax/net", 50, "hash10"),
        ("elsewhere/net", 7, "hash40"),
    ]


def test_the_epoch_decides_between_runs_of_one_prefix(tmp_path):
    """The second run went on from the first under its name, and wrote number 1 anew, as --ckpt 3 does."""
    net = tmp_path / "net"
    log(
        net,
        start(10, "net"),
        saved(11, 1, 50),
        saved(12, 2, 60),
        start(20, "net", "net,1"),
        saved(21, 1, 80),
        saved(22, 3, 90),
    )
    name = f"{tmp_path.name}/net"
    assert brief(lineage.stages(str(net), 2)) == [(name, 60, "hash10")]
    assert brief(lineage.stages(str(net), 3)) == [(name, 50, "hash10"), (name, 90, "hash20")]
    assert brief(lineage.stages(str(net), 1)) == [(name, 50, "hash10"), (name, 80, "hash20")]
    assert brief(lineage.stages(str(net))) == [(name, 50, "hash10"), (name, 90, "hash20")]
    assert lineage.stages(str(net), 4) == []


def test_a_run_that_has_saved_nothing_yet(tmp_path):
    log(tmp_path / "net", start(10, "net", steps=900))
    assert [stage.steps for stage in lineage.stages(str(tmp_path / "net"))] == [900]
    assert lineage.stages(str(tmp_path / "net"), 1) == []


def test_a_circle_ends(tmp_path):
    log(tmp_path / "a", start(10, "a", "b,1"), saved(12, 1, 5))
    log(tmp_path / "b", start(11, "b", "a,1"), saved(13, 1, 6))
    assert [stage.set_fingerprint for stage in lineage.stages(str(tmp_path / "a"), 1)] == ["hash11", "hash10"]


def test_nothing_known(tmp_path):
    assert lineage.stages(str(tmp_path / "net"), 1) == []
    assert lineage.stages(str(tmp_path / "no/such/net")) == []
    log(tmp_path / "net", start(10, "net", "/models/insightface/model,58"), saved(11, 1, 5))
    assert len(lineage.stages(str(tmp_path / "net"), 1)) == 1


@pytest.mark.parametrize("pretrained", ["no epoch", "net,x", ",3", 7, None])
def test_an_odd_option_ends_the_chain(tmp_path, pretrained):
    log(tmp_path / "net", start(10, "net", pretrained), saved(11, 1, 5))
    assert len(lineage.stages(str(tmp_path / "net"), 1)) == 1


def test_damaged_lines_of_a_log_are_passed_over(tmp_path):
    damaged = [
        '{"kind": "saved", "ti',
        '{"kind": "saved"}',
        saved(1e300, 1, 6),
        "\x00\x00",
        '["saved"]',
        '{"kind": "step", "loss": nul',
    ]
    log(tmp_path / "net", start(10, "net"), *damaged, saved(11, 1, 5))
    assert len(lineage.stages(str(tmp_path / "net"), 1)) == 1


@pytest.mark.parametrize("cut", [30, -5])
def test_after_a_damaged_start_nothing_is_the_run_befores(tmp_path, cut):
    log(tmp_path / "net", start(10, "net"), saved(11, 1, 5), start(20, "net")[:cut], saved(21, 2, 6))
    assert lineage.stages(str(tmp_path / "net"), 2) == []
    assert brief(lineage.stages(str(tmp_path / "net"), 1))[0][2] == "hash10"


def test_what_ships_tells_it_without_the_logs_and_without_paths(three, tmp_path):
    found = lineage.stages(f"{three}/m/finetune/net", 3)
    shipped = str(tmp_path / "ship/nets")
    write(shipped, 0, found)
    text = lineage.path(shipped).read_text()
    assert str(tmp_path) not in text
    assert "secret" not in text
    taught = {"teacher": "/home/me/secret/r100,1", "teacher_file": "secret/t.npz", "lr": 0.1}
    public = lineage.from_metadata({lineage.PROPERTY: lineage.to_json([found[-1]._replace(options=taught)])})
    assert public[0].options == {"teacher": "r100,1", "teacher_file": "t.npz", "lr": 0.1}
    again = lineage.stages(shipped, 0)
    assert brief(again) == THREE
    assert again[2].options == {"data_dir": "faces", "prefix": "net", "pretrained": "net,1", "lr": 0.1}
    assert again[2].log == "net-log.jsonl"
    assert lineage.from_metadata({lineage.PROPERTY: lineage.to_json(found)}) == again
    assert lineage.from_metadata({"color_order": "RGB"}) == []


def test_training_goes_on_from_what_ships(three):
    write(f"{three}/m/ship/nets", 0, lineage.stages(f"{three}/m/finetune/net", 3))
    log(three / "m/more/net", start(50, "m/more/net", "m/ship/nets,0"), saved(51, 1, 9))
    assert brief(lineage.stages(f"{three}/m/more/net", 1)) == [*THREE, ("more/net", 9, "hash50")]


def test_a_lineage_is_of_its_epoch_only(three):
    """A later run under the prefix of a slimmed checkpoint has its own log."""
    found = lineage.stages(f"{three}/m/softmax/net", 1)
    write(f"{three}/m/softmax/net", 0, found)
    assert brief(lineage.stages(f"{three}/m/softmax/net", 0)) == [("softmax/net", 50, "hash10")]
    assert brief(lineage.stages(f"{three}/m/softmax/net", 2)) == [("softmax/net", 100, "hash10")]
    assert brief(lineage.stages(f"{three}/m/softmax/net")) == [("softmax/net", 50, "hash10")]


def test_files_for_other_runtimes_share_a_prefix_with_checkpoints(three):
    """``export-ncnn --output m/softmax/net`` of its number 1: number 2 has nothing to do with it."""
    prefix = f"{three}/m/softmax/net"
    one, two = lineage.stages(prefix, 1), lineage.stages(prefix, 2)
    write(prefix, None, one)
    assert brief(lineage.stages(prefix)) == [("softmax/net", 50, "hash10")]
    assert lineage.stages(prefix, 2) == two
    write(prefix, 0, one)
    before = lineage.path(prefix).read_text()
    for same_or_unknown in (one, []):
        write(prefix, None, same_or_unknown)
        assert lineage.path(prefix).read_text() == before
    lineage.path(prefix).write_text("damaged")
    write(prefix, None, two)
    assert lineage.stages(prefix) == lineage.from_metadata({"lineage": lineage.to_json(two)})


def test_a_file_of_unknown_origin_does_not_take_over_the_lineage_of_the_one_before(three):
    prefix = f"{three}/ship"
    write(prefix, None, lineage.stages(f"{three}/m/softmax/net", 1))
    assert lineage.outdates(prefix, [])
    write(prefix, None, [])
    assert not lineage.path(prefix).exists()


def test_another_lineage_is_replaced_only_where_files_may_be(three):
    """A slimmed checkpoint has the prefix already; ``export-ncnn`` of another model would take its lineage away."""
    prefix = f"{three}/m/ship"
    write(prefix, 0, lineage.stages(f"{three}/m/softmax/net", 2))
    (three / "m/ship.model").unlink()
    before = lineage.path(prefix).read_text()
    other = lineage.stages(f"{three}/m/arcface/net", 1)
    with pytest.raises(InsightError, match="ship-lineage.json: already exists; .*--overwrite"):
        write(prefix, None, other, overwrite=False)
    assert lineage.path(prefix).read_text() == before
    assert not (three / "m/ship.model").exists()


def test_a_model_of_unknown_origin_has_no_lineage_and_keeps_no_older_one(tmp_path, three):
    write(str(tmp_path / "s"), 0, [])
    assert not lineage.path(str(tmp_path / "s")).exists()
    write(str(tmp_path / "s"), 0, lineage.stages(f"{three}/m/softmax/net", 1))
    write(str(tmp_path / "s"), 0, [])
    assert lineage.stages(str(tmp_path / "s"), 0) == []


GOOD = {"name": "n", "log": "l", "started": 1, "set_fingerprint": "", "options": {}, "steps": 1, "versions": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"version": 1, "epo',
        "[]",
        '{"version": 2, "epoch": 0, "stages": []}',
        '{"version": 1, "epoch": 0}',
        '{"version": 1, "epoch": 0, "stages": [{}]}',
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "options": [1]}]}),
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "started": "soon"}]}),
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "started": 1e300}]}),
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "started": float("nan")}]}),
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "log": 3}]}),
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "set_fingerprint": None}]}),
        json.dumps({"version": 1, "epoch": 0, "stages": [{**GOOD, "versions": {"mxnet": 1}}]}),
    ],
)
def test_a_damaged_lineage_is_one_line(tmp_path, text):
    lineage.path(str(tmp_path / "s")).write_text(text)
    with pytest.raises(InsightError, match="s-lineage.json: not a lineage of version 1 .*export the model again"):
        lineage.stages(str(tmp_path / "s"), 0)
    with pytest.raises(InsightError, match="metadata 'lineage': not a lineage"):
        lineage.from_metadata({"lineage": text})
