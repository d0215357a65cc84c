"""Keys of a config.py land in the options that they should; the others are named."""

import os

import pytest
from sample_configs import OF_2019, OF_2021, mapping

from insight.configs.choices import margin_of
from insight.errors import InsightError
from insight.formats.property import Property, write_property
from insight.train.train_options import TrainOptions

# Options of OF_2021 whatever the entries, then those of the default entries.
COMMON = {
    "bn_mom": 0.95,
    "fc7_wd_mult": 2.5,
    "max_steps": 77,
    "rand_mirror": 0,
    "cutoff": 11,
    "color": 1,
    "images_filter": 4,
    "frequent": 21,
    "verbose": 2200,
    "end_epoch": 900,
    "lr": 0.11,
    "wd": 0.0006,
    "mom": 0.91,
    "per_batch_size": 120,
    "ckpt": 2,
    "lr_steps": "1000,1600",
}
R100 = {"network": "r100", "emb_size": 384}
FACES = {"data_dir": "sets/faces", "target": "one,two", "image_size": "112,112"}
ARCFACE = {"loss_type": "4", "margin_s": 60.0, "margin_m": 0.45}
TRIPLET = {"loss_type": "triplet_bag", "per_batch_size": 30, "lr": 0.02, "max_fall": 2.0}

NETWORKS = {
    "r100": R100,
    "r101": {"network": "r101", "emb_size": 384, "bottleneck": 0},
    "r100fc": {**R100, "version_output": "FC"},
    "r50se": {
        "network": "r50",
        "emb_size": 384,
        "version_unit": 1,
        "version_se": 1,
        "version_input": 0,
        "version_act": "relu",
    },
    "y1": {"network": "y1", "emb_size": 96},
    "y1e": {"network": "y1", "emb_size": 96, "version_output": "E"},
    "y2": {"network": "y2", "emb_size": 192},
    "small": {"network": "r18", "emb_size": 384, "per_batch_size": 40},
}
LOSSES = {
    "softmax": {"loss_type": "0"},
    "nsoftmax": {"loss_type": "5", "margin_s": 60.0, "margin_m": 0.0},
    "arcface": ARCFACE,
    "cosface": {"loss_type": "2", "margin_s": 60.0, "margin_m": 0.3},
    "combined": {"loss_type": "5", "margin_s": 60.0, "margin_a": 0.9, "margin_m": 0.25, "margin_b": 0.15},
    "triplet": {
        **TRIPLET,
        "images_per_identity": 6,
        "triplet_alpha": 0.25,
        "triplet_bag_size": 720,
        "triplet_max_ap": 0.5,
    },
    "atriplet": {
        **TRIPLET,
        "images_per_identity": 4,
        "triplet_alpha": 0.4,
        "triplet_bag_size": 480,
        "triplet_distance": "angle",
    },
    "ours": {"loss_type": "adaface", "margin_m": 0.35, "margin_h": 0.3, "warmup": 100.0, "lr_schedule": "cosine"},
}
DATASETS = {
    "faces": FACES,
    "retina": {"data_dir": "sets/retina", "target": "none", "image_size": "96,96"},
}


class TestEntries:
    @pytest.mark.parametrize("network", NETWORKS)
    def test_network(self, network):
        prefix = f"runs/{network}-arcface-faces/model"
        want = {**COMMON, **FACES, **ARCFACE, **NETWORKS[network], "prefix": prefix}
        assert mapping(network=network).options() == TrainOptions(**want)

    @pytest.mark.parametrize("loss", LOSSES)
    def test_loss(self, loss):
        want = {**COMMON, **R100, **FACES, **LOSSES[loss], "prefix": f"runs/r100-{loss}-faces/model"}
        assert mapping(loss=loss).options() == TrainOptions(**want)

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_dataset(self, dataset):
        want = {**COMMON, **R100, **ARCFACE, **DATASETS[dataset], "prefix": f"runs/r100-arcface-{dataset}/model"}
        assert mapping(dataset=dataset).options() == TrainOptions(**want)

    @pytest.mark.parametrize(
        "loss, values",
        {
            "softmax": {"loss_type": "0"},
            "nsoftmax": {"loss_type": "5", "margin_s": 32.0, "margin_m": 0.0},
            "arcface": {"loss_type": "4", "margin_s": 32.0, "margin_m": 0.4, "lr": 0.2},
            "cosface": {"loss_type": "2", "margin_s": 32.0, "margin_m": 0.2},
            "combined": {"loss_type": "5", "margin_s": 32.0, "margin_a": 1.1, "margin_m": 0.3, "margin_b": 0.1},
        }.items(),
    )
    def test_sample_of_2019(self, loss, values):
        # the loss is joined last there: its lr prevails over the data set's
        want = {
            **{"network": "y1", "emb_size": 128, "data_dir": "./faces", "target": "lfw", "image_size": "112,112"},
            **{"pretrained": "old/model,0", "ckpt": 3, "lr": 0.3, "lr_steps": "1000", "end_epoch": 10000},
            "prefix": f"./models/y1-{loss}-faces/model",
            **values,
        }
        result = mapping(OF_2019, network="y1", loss=loss)
        assert result.options() == TrainOptions(**want)
        assert result.notes == ["config.py: keys without a meaning here: kvstore, workspace (docs/config.md)"]

    def test_values_of_the_networks_own_are_left_to_it(self):
        assert mapping().options().version_output is None
        assert mapping(network="y1").options().version_output is None


@pytest.mark.parametrize(
    "m1, m2, m3, loss_type",
    [
        *((1, 0, 0.35, "2"), (0.9, 0, 0.35, "5"), (1, 0.1, 0.35, "5"), (1, 0, -0.35, "5")),
        *((1, 0.5, 0, "4"), (0.9, 0.5, 0, "5"), (1, 1.6, 0, "5"), (1, -0.5, 0, "5"), (1, 0, 0, "5")),
    ],
)
def test_loss_with_these_margins(m1, m2, m3, loss_type):
    """CosFace and ArcFace only where nothing else acts and they take the value."""
    assert margin_of(m1, m2, m3)[0] == loss_type


class TestCommandLine:
    def test_prevails(self):
        result = mapping(loss="triplet", lr=0.5, per_batch_size=9, margin_m=0.2, emb_size=8, version_output="GDC")
        options = result.options()
        assert (options.lr, options.per_batch_size, options.emb_size, options.version_output) == (0.5, 9, 8, "GDC")
        assert not {"lr", "per_batch_size", "emb_size"} & set(result.origins)

    @pytest.mark.parametrize(
        "typed, prefix",
        [
            ({"models_root": "m"}, "m/r100-arcface-faces/model"),
            ({"extra_model_name": "b"}, "runs/r100-arcface-faces-b/model"),
            ({"prefix": "p"}, "p"),
        ],
    )
    def test_prefix(self, typed, prefix):
        assert mapping(**typed).options().prefix == prefix

    @pytest.mark.parametrize(
        "typed, pretrained",
        [
            ({}, ""),
            ({"pretrained_epoch": 3}, ""),
            ({"pretrained": "a/b"}, "a/b,7"),
            ({"pretrained": "a/b", "pretrained_epoch": 3}, "a/b,3"),
            ({"pretrained": "a/b,12"}, "a/b,12"),
        ],
    )
    def test_pretrained(self, typed, pretrained):
        assert mapping(**typed).options().pretrained == pretrained

    def test_pretrained_folder_is_its_model(self, tmp_path):
        assert mapping(pretrained=f"{tmp_path},1").options().pretrained == f"{tmp_path}/model,1"

    def test_two_numbers(self):
        with pytest.raises(InsightError, match=r"^--pretrained-epoch 3: a,1 has a number already"):
            mapping(pretrained="a,1", pretrained_epoch=3)

    def test_what_has_no_option(self):
        result = mapping(fp16_scale=8.0)
        assert result.options().dtype == "float16"
        assert result.notes[0] == "--fp16-scale 8: float16, whose loss is scaled automatically here"
        assert mapping(fp16_scale=0.0).options().dtype == "float32"


class TestNotes:
    NOTHING = (
        "config.py: keys without a meaning here: ce_loss, ckpt_embedding, count_flops, is_shuffled_rec, kvstore, "
        "memonger, workspace (docs/config.md)"
    )

    def test_each_key_without_a_meaning_once(self):
        assert mapping().notes == [self.NOTHING]

    def test_keys_of_other_networks_and_losses(self):
        assert mapping(network="y1e").notes[1] == "config.py: network y1e and loss arcface do not read net_se 1"
        source = OF_2021 + "config.images_per_identity = 9\nconfig.net_multiplier = 0.5\nconfig.fc7_lr_mult = 3.0\n"
        (_, note) = mapping(source).notes
        assert note.endswith("do not read images_per_identity 9, net_multiplier 0.5")
        assert mapping(source).options().fc7_lr_mult == 3
        (_, note) = mapping(source, loss="atriplet").notes
        assert note.endswith("do not read fc7_lr_mult 3.0, net_multiplier 0.5")

    def test_unknown(self):
        notes = mapping(OF_2021 + "config.net_outputs = 'FC'\nnetwork.r100.depth = 3\n").notes
        assert "unknown keys, ignored: depth, net_outputs;" in notes[1]

    def test_in_config_and_not_in_default(self):
        notes = mapping(OF_2021 + "config.lr = 0.7\n").notes
        assert notes[1] == "config.py: config.lr: not read, the value in default or in an entry counts"
        assert mapping(OF_2021 + "config.lr = 0.7\n").options().lr == 0.11

    def test_number_of_classes(self, tmp_path):
        write_property(tmp_path, Property(40, 112, 112))
        line = OF_2021.splitlines().index("dataset.faces.num_classes = 3000") + 1
        assert mapping(data_dir=str(tmp_path)).notes[0] == (
            f"config.py:{line}: dataset.faces.num_classes 3000: the set has 40 ({tmp_path}/property), which are used"
        )


def line_of(text, source=OF_2021):
    return next(number for number, line in enumerate(source.splitlines(), 1) if line.startswith(text))


class TestRefusals:
    @pytest.mark.parametrize(
        "names, place, says",
        [
            ({"network": "d169"}, "network.d169.net_name", " 'fdensenet': not available here; want fresnet, "),
            ({"network": "m05"}, "network.m05", ".net_name 'fmobilenet': not available here; want fresnet, "),
            ({"network": "mnas"}, "network.mnas", ".net_name 'fmnasnet': not available here"),
            ({"network": "varg"}, "network.varg", ".net_name 'vargfacenet': not available here"),
            ({"network": "r77"}, "network.r77.num_layers", " 77: not available here; want one of 18, 34, "),
            ({"network": "y3"}, "network.y3.net_blocks", " [1, 2, 3, 1]: not available here; want [1, 4, 6, 2] (y1)"),
            ({"network": "yrelu"}, "network.yrelu", ".net_act 'relu': MobileFaceNet has prelu only here"),
            ({"network": "nameless"}, "network.nameless", ": has no net_name; want fresnet"),
            ({"network": "depthless"}, "network.depthless", ": has no num_layers: not available here"),
            ({"loss": "centre"}, "loss.centre.loss_name", " 'centre': not available here; want softmax, "),
            ({"loss": "nobody"}, "loss.nobody", ".loss_type 'nobody': not available here; want adaface"),
            ({"loss": "marginless"}, "loss.marginless", ": has no loss_m1; want loss_s, loss_m1"),
            ({"dataset": "grey"}, "dataset.grey.image_shape", " [112, 112, 1]: want (height, width, 3)"),
        ],
    )
    def test_entries(self, names, place, says):
        with pytest.raises(InsightError) as error:
            mapping(**names)
        assert str(error.value).startswith(f"config.py:{line_of(place)}: {place}{says}")

    @pytest.mark.parametrize(
        "lines, says",
        [
            ("config.emb_size = 'large'", "config.emb_size 'large': want a whole number"),
            ("config.emb_size = 12.5", "config.emb_size 12.5: want a whole number"),
            ("default.lr = 'fast'", "default.lr 'fast': want a number"),
            ("config.fp16 = 3\ngenerate_config = lambda *names: None", "config.fp16 3: want True or False"),
            ("config.flip_noise_prob = 0.1", "config.flip_noise_prob: labels cannot be changed at random"),
        ],
    )
    def test_values(self, lines, says):
        first = lines.splitlines()[0]
        source = OF_2021.replace("config.fp16 = False\n\n", "\n") + lines + "\nnetwork.r100.net_name = 'fresnet'\n"
        if "generate_config" in lines:
            source += "config.update(network.r100, **dataset.faces, **loss.arcface)\n"
        with pytest.raises(InsightError) as error:
            mapping(source)
        assert str(error.value).startswith(f"config.py:{line_of(first, source)}: {says}")

    def test_of_the_options(self):
        source = OF_2021 + "config.bn_mom = 1.5\n"
        place = f"config.py:{line_of('config.bn_mom = 1.5', source)}: config.bn_mom"
        with pytest.raises(InsightError) as error:
            mapping(source).options()
        assert str(error.value) == f"{place}: --bn-mom 1.5: must be in 0 <= bn-mom < 1"

    def test_of_the_trainer(self):
        """A message of the trainer begins with an option; the place in the file precedes it."""
        result = mapping(loss="negative")
        error = result.placed(InsightError("--margin-b -0.3: what is taken off the cosine must be 0 or more"))
        assert str(error).startswith(f"config.py:{line_of('loss.negative.loss_m3')}: loss.negative.loss_m3: --margin-b")
        assert result.options().margin_b == -0.3
        assert str(result.placed(InsightError("--seed 1: no"))) == "--seed 1: no"
        folder = result.placed(InsightError("sets/faces: no such folder"))
        assert str(folder).endswith(": dataset.faces.dataset_path: sets/faces: no such folder")

    def test_several_hosts(self, monkeypatch):
        monkeypatch.setitem(os.environ, "DMLC_NUM_WORKER", "2")
        with pytest.raises(InsightError, match=r"^config.py:\d+: config.num_workers 2 \(DMLC_NUM_WORKER\)"):
            mapping()


class TestTypes:
    def test_are_converted(self):
        source = OF_2021 + (
            "default.lr_steps = [10, 20]\ndefault.wd = np.float64(0.25)\nconfig.data_cutoff = False\n"
            "config.bn_mom = np.float32(0.5)\nconfig.val_targets = 'a,b'\ndel dataset.faces['val_targets']\n"
            "config.teacher_weight = None\ndefault.verbose = 5e2\nconfig.loss_K = 3\nconfig.data_num_workers = 1\n"
        )
        options = mapping(source).options()
        assert (options.lr_steps, options.wd, options.cutoff, options.bn_mom) == ("10,20", 0.25, 0, 0.5)
        assert (options.target, options.teacher_weight, options.verbose) == ("a,b", None, 500)
        assert (options.centres, options.num_workers) == (3, 1)
        assert mapping(source, loss="softmax").options().centres == 1  # a softmax of inner products has one
        assert type(options.wd) is type(options.bn_mom) is float
        assert type(options.verbose) is int
