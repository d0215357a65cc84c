"""recipes/own_faces: the commands that a dry run prints, and all stages on made-up photos."""

import re

import pytest
from own_faces_runs import SETTINGS, STAGES, commands, run

from insight.cli import build_parser


class TestCommands:
    """What a dry run prints."""

    @staticmethod
    def parsed(*arguments, **settings):
        """{stage: the parsed options of its commands}."""
        dry = run(*arguments, "--pretrained", "models/y1,40", "--dry-run", **settings)
        assert dry.returncode == 0, dry.stderr
        shown = commands(dry.stdout)
        return {
            stage: [build_parser(words[0]).parse_args(words[1:]) for words in lines] for stage, lines in shown.items()
        }

    def test_every_stage_is_shown_and_parses(self):
        stages = self.parsed("photos")
        assert list(stages) == STAGES
        assert {stage: len(lines) for stage, lines in stages.items()} == dict(zip(STAGES, [1, 4, 1, 1, 2, 1, 1, 1, 5]))
        (align,), (lists, *_), (clean,) = stages["10_align"], stages["20_pack"], stages["40_clean"]
        assert (align.raw, align.out, align.model) == ("photos", "runs/own_faces/10_align/faces", "models/y1,40")
        assert (lists.dir, lists.min_images, lists.val_ratio) == (align.out, 3, 0.2)
        assert (clean.set, clean.model) == ("runs/own_faces/20_pack/set", "models/y1,40")

    def test_training_starts_from_the_checkpoint_and_the_page_compares_with_it(self):
        stages = self.parsed("photos")
        (tuned,), (triplets,), (page,) = stages["60_finetune"], stages["70_triplet"], stages["80_verify"]
        assert (tuned.pretrained, tuned.target, tuned.ckpt) == ("models/y1,40", "own", 2)
        assert tuned.freeze_backbone_steps * 5 == tuned.max_steps == tuned.verbose * 4
        assert triplets.pretrained == f"{tuned.prefix},1" and tuned.prefix == "runs/own_faces/60_finetune/model"
        assert (page.model, page.before) == (f"{triplets.prefix},1", "models/y1,40")
        assert (page.pairs, page.data_dir) == ("runs/own_faces/20_pack/own.csv", None)
        assert stages["90_ship"][0].model == page.model

    def test_a_public_set_comes_second_and_its_test_sets_are_left_out(self, tmp_path):
        for name in ("lfw.bin", "cfp_fp.bin", "train.rec"):
            (tmp_path / name).touch()
        stages = self.parsed("photos", PUBLIC=tmp_path, TEACHER="r100,1")
        merge, check = stages["50_merge"]
        assert merge.include == ["runs/own_faces/40_clean/set", str(tmp_path)]
        tests = [f"{tmp_path}/cfp_fp.bin", f"{tmp_path}/lfw.bin"]
        assert merge.exclude == check.exclude.split(",") == ["runs/own_faces/20_pack/own.bin", *tests]
        assert (merge.param1, merge.param2) == (0.55, 0.5)
        assert stages["60_finetune"][0].target == "own,cfp_fp,lfw"
        assert stages["60_finetune"][0].teacher_file == "runs/own_faces/60_finetune/teacher.npz"
        assert stages["80_verify"][0].target == "cfp_fp,lfw"
        (tmp_path / "other").mkdir()
        chosen = self.parsed("photos", PUBLIC=tmp_path, TESTS=f"{tmp_path}/lfw.bin", SAME_COSINE=0.4)
        assert chosen["60_finetune"][0].target == "own,lfw" and chosen["50_merge"][0].param1 == 0.4

    def test_aligned_faces_and_no_triplets(self):
        stages = self.parsed("--aligned", "faces", "--output", "elsewhere", TRIPLET="no")
        assert list(stages) == STAGES and stages["70_triplet"] == []
        assert stages["10_align"] == [] and stages["20_pack"][0].dir == "faces"
        (page,) = stages["80_verify"]
        assert page.model == "elsewhere/60_finetune/model,1" and page.log == ["elsewhere/60_finetune/model-log.jsonl"]

    def test_settings_reach_their_commands(self, tmp_path):
        preset = tmp_path / "own.env"
        preset.write_text('HELD_OUT=0.3\nMIN_IMAGES=5\nCLEAN_OPTIONS="--threshold 0.2"\n')
        more = {
            "HELD_OUT": 0.1,
            "BATCH_SIZE": 32,
            "FINETUNE_OPTIONS": "--lr 0.02 --ema 0.99",
            "LR": 0.01,
            "MAX_STEPS": 80,
        }
        stages = self.parsed("photos", "--env", preset, **more)
        assert (stages["20_pack"][0].val_ratio, stages["20_pack"][0].min_images) == (0.1, 5)
        assert stages["40_clean"][0].threshold == 0.2
        tuned, triplets = stages["60_finetune"][0], stages["70_triplet"][0]
        assert (tuned.lr, tuned.ema, tuned.max_steps, tuned.per_batch_size) == (0.02, 0.99, 80, 32)
        assert (triplets.lr, triplets.max_steps) == (0.01, 80)

    @pytest.mark.parametrize(
        "arguments, settings, message",
        [
            (["docs"], {}, "--pretrained: name the checkpoint to start from"),
            (["docs", "--pretrained", "y1"], {}, "--pretrained y1: want prefix,epoch"),
            (["--pretrained", "y1,1"], {}, "PHOTOS: name a folder"),
            (["nowhere", "--pretrained", "y1,1"], {}, "nowhere: no such folder"),
            (["docs", "tests", "--pretrained", "y1,1"], {}, "tests: one folder of photos only"),
            (["docs", "--aligned", "tests", "--pretrained", "y1,1"], {}, "docs, --aligned tests: give photos or"),
            (["docs", "--pretrained", "y1,1", "--lr", "1"], {}, "--lr: no such option"),
            (["docs", "--pretrained", "y1,1"], {"TESTS": "no.bin"}, "TESTS: no.bin: no such file"),
            (["docs", "--pretrained", "y1,1"], {"TESTS": "x/own.bin"}, "TESTS: x/own.bin: want files with other names"),
            (["docs", "--pretrained", "y1,1", "--env", "no.env"], {}, "--env no.env: no such file"),
            (
                ["docs", "--pretrained", "y1,1"],
                {},
                "--pretrained y1,1: y1-symbol.json: no such file; want prefix,epoch",
            ),
            (["docs", "--pretrained", "y1,1"], {"PUBLIC": "no/set"}, "PUBLIC=no/set: no such folder or .rec"),
            (["docs", "--pretrained", "y1,1"], {"PUBLIC": "a,b"}, "PUBLIC=a,b: has a comma; one set only"),
            (
                ["docs", "--pretrained", "y1,1"],
                {"TESTS": "x/a.bin, y/a.bin"},
                "TESTS: y/a.bin: another one is named a.bin",
            ),
            (
                ["docs", "--pretrained", "y1,1", "--output", "a,b"],
                {},
                "--output a,b: has a comma, which separates sets",
            ),
            (["docs", "--pretrained", "y1,1"], {"EPOCHS": "0.5"}, "EPOCHS=0.5: must be a whole number, 1 or more"),
            (
                ["docs", "--pretrained", "y1,1"],
                {"MAX_STEPS": "ten"},
                "MAX_STEPS=ten: must be a whole number, 1 or more",
            ),
            (["docs", "--pretrained", "y1,1"], {"TRIPLET": 0}, "TRIPLET=0: must be yes or no"),
        ],
    )
    def test_bad_settings_take_one_line(self, arguments, settings, message):
        failed = run(*arguments, **settings)
        assert failed.returncode == 2
        assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1 and message in failed.stderr
        assert "insight " not in failed.stdout

    def test_paths_are_those_of_the_folder_where_it_is_started(self, tmp_path):
        """Also with blanks and quotes, and in a preset, which a stage that starts over reads in the root."""
        (tmp_path / "a set").mkdir()
        preset = tmp_path / "own.env"
        preset.write_text('PUBLIC="a set" TESTS="a set/lfw.bin, cfp.bin" TEACHER=r100,1\n')
        photos = """my 'photos' of "x" """
        dry = run(photos, "--pretrained", "y1,40", "--env", "own.env", "--dry-run", folder=tmp_path)
        assert dry.returncode == 0, dry.stderr
        shown = commands(dry.stdout)
        (align,), (merge, _), (tuned,) = shown["10_align"], shown["50_merge"], shown["60_finetune"]
        assert align[1] == f"{tmp_path}/{photos}" and align[-1] == f"{tmp_path}/y1,40"
        assert merge[merge.index("--include") + 1] == f"runs/own_faces/40_clean/set,{tmp_path}/a set"
        excluded = f"runs/own_faces/20_pack/own.bin,{tmp_path}/a set/lfw.bin,{tmp_path}/cfp.bin"
        assert merge[merge.index("--exclude") + 1] == excluded
        assert tuned[tuned.index("--teacher") + 1] == f"{tmp_path}/r100,1"

    def test_help(self):
        shown = run("--help").stdout
        assert shown.startswith("From photos of your own people") and "--aligned DIR" in shown
        assert set(re.findall(r"\b[A-Z0-9]+_OPTIONS", shown)) == {
            name for name in SETTINGS if name.endswith("_OPTIONS")
        }


def test_smoke(tmp_path, in_projects_environment):
    """All stages on made-up photos, with their real commands; the second time nothing is left to do."""
    small = {"SMOKE_DIR": tmp_path, "EMB_SIZE": 16, "MAX_STEPS": 2, "BATCH_SIZE": 10}
    done = run("--smoke", **small)
    assert done.returncode == 0, done.stdout + done.stderr
    work = tmp_path / "smoke/own_faces"
    for stage in STAGES:
        summary = (work / stage / "summary.txt").read_text()
        found = re.match(r" {4}found {5}(.+)\n", summary)
        assert found and "  " not in found[1] and not re.search(r": *(;|$)", found[1]), summary
    assert (
        "images + 10 identity records" in (work / "50_merge/summary.txt").read_text()
    )  # 4 of ours, 6 of the public set
    assert "held-out: 10 images of 2 identities" in (work / "20_pack/summary.txt").read_text()
    page = (work / "80_verify/report.html").read_text()
    assert page.count("Before and after") == 2 and "before, with softmax/model,1, accuracy" in page
    for name in ("model-0000.params", "model.onnx", "model-int8.onnx", "model-ncnn.param", "benchmark.csv"):
        assert (work / "90_ship" / name).stat().st_size > 0
    again = run("--smoke", **small)
    assert again.returncode == 0, again.stderr
    assert [words[0] for stage in commands(again.stdout).values() for words in stage] == ["align-faces"]
    assert again.stdout.count("done already") == len(STAGES) - 1
