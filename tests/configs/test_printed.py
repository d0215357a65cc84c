"""A printed config.py is read back to the same options."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_configs import OF_2021, mapping

from insight import nets
from insight.configs.mapped import mapped
from insight.configs.printed import defaults, text
from insight.configs.userfile import ConfigFile, Names
from insight.errors import InsightError
from insight.margins import margins
from insight.objectives.triplet import RUN_DEFAULTS
from insight.train.train_options import TrainOptions

NUMBERS = {margins.get(number).name: number for number in ("0", "2", "4", "5")}
NAMES = Names("net-1", "my set", "loss")


def read(source, *names):
    return mapped(ConfigFile("config.py", source).join(*names), {})


def back(options, names=NAMES):
    return read(text(options, names)).options()


class TestDefaults:
    def test_are_those_of_train_softmax(self):
        result = mapped(defaults().join(), {})
        want = TrainOptions(data_dir="faces", prefix="./models/r50-arcface-faces/model")
        assert result.options() == want
        assert result.notes == []
        assert back(want) == want

    @pytest.mark.parametrize("network", list(nets.networks))
    def test_network(self, network):
        options = mapped(defaults().join(network), {}).options()
        prefix = f"./models/{network}-arcface-faces/model"
        size = nets.family(network).default_embedding_size
        assert options == TrainOptions(data_dir="faces", prefix=prefix, network=network, emb_size=size)

    @pytest.mark.parametrize("loss", list(margins))
    def test_loss(self, loss):
        result = mapped(defaults().join(loss=loss), {})
        prefix = f"./models/r50-{loss}-faces/model"
        assert result.options() == TrainOptions(data_dir="faces", prefix=prefix, loss_type=NUMBERS.get(loss, loss))
        assert result.notes == []

    @pytest.mark.parametrize(
        "loss, values",
        {
            "nsoftmax": {"loss_type": "5", "margin_m": 0.0},
            "triplet": {"loss_type": "triplet_bag", **RUN_DEFAULTS},
            "atriplet": {"loss_type": "triplet_bag", "triplet_distance": "angle", **RUN_DEFAULTS},
            "triplet_batch": {"loss_type": "triplet", **RUN_DEFAULTS},
        }.items(),
    )
    def test_samples_other_losses(self, loss, values):
        options = mapped(defaults().join(loss=loss), {}).options()
        assert options == TrainOptions(data_dir="faces", prefix=f"./models/r50-{loss}-faces/model", **values)

    def test_are_a_python_file_of_short_lines(self):
        options = TrainOptions(data_dir="faces")
        assert max(map(len, text(options, NAMES).splitlines())) <= 120


SETTINGS = {
    "lr": st.floats(1e-4, 1),
    "wd": st.floats(0, 1),
    "warmup": st.floats(0, 9),
    "lr_steps": st.sampled_from(["", "10", "10,20"]),
    "lr_schedule": st.sampled_from(["step", "cosine"]),
    "emb_size": st.integers(1, 600),
    "per_batch_size": st.integers(1, 99),
    "num_workers": st.integers(1, 5),
    "rand_mirror": st.integers(0, 1),
    "cutoff": st.integers(0, 50),
    "ckpt": st.integers(0, 3),
    "max_fall": st.floats(0, 9),
    "target": st.sampled_from(["", "lfw", "a,b"]),
    "image_size": st.sampled_from(["", "112,112", "96,80"]),
    "prefix": st.sampled_from(["model", "runs/net-1-loss-my set/model", "/net-1-loss-my set/model", "a'b/c"]),
    "pretrained": st.sampled_from(["", "a/b,0", "a,c/b,12"]),
    "dtype": st.sampled_from(["float32", "float16"]),
    "devices": st.sampled_from(["", "cpu,cpu"]),
    "sampler": st.sampled_from(["", "balanced"]),
    "fc7_lr_mult": st.floats(0, 9),
    "fc7_wd_mult": st.floats(0, 9),
    "seed": st.integers(0, 9),
}
OF_NETWORKS = {
    "r18": {"version_se": st.sampled_from([None, 1]), "version_output": st.sampled_from([None, "GDC", "FC"])},
    "r101": {"bottleneck": st.sampled_from([None, 0]), "version_unit": st.sampled_from([None, 1])},
    "y1": {"version_output": st.sampled_from([None, "E"]), "version_eca": st.sampled_from([None, 1])},
    "y2": {"version_se": st.sampled_from([None, 1])},
}
MARGIN = st.one_of(st.none(), st.floats(0, 1.2))
OF_LOSSES = {
    "0": {"fc7_no_bias": st.booleans()},
    "2": {"margin_m": MARGIN, "margin_s": st.floats(1, 99), "centres": st.integers(1, 3)},
    "4": {"margin_m": MARGIN, "easy_margin": st.integers(0, 1), "straight_through": st.booleans()},
    "5": {"margin_m": MARGIN, "margin_a": st.floats(0.5, 2), "margin_b": st.sampled_from([0.0, 0.2])},
    "adaface": {"margin_m": MARGIN, "margin_h": st.floats(0.1, 1), "interclass_filter": st.floats(0.2, 1)},
    "triplet": {"triplet_alpha": st.floats(0.1, 1), "images_per_identity": st.integers(2, 9)},
    "triplet_bag": {
        "triplet_bag_size": st.integers(1, 9000),
        "triplet_distance": st.sampled_from(["euclid", "angle"]),
        "triplet_mean": st.sampled_from([None, "active"]),
        "classification_weight": st.sampled_from([0.0, 0.5]),
    },
}


@st.composite
def runs(draw):
    network, loss = draw(st.sampled_from(sorted(OF_NETWORKS))), draw(st.sampled_from(sorted(OF_LOSSES)))
    possible = {**SETTINGS, **OF_NETWORKS[network], **OF_LOSSES[loss]}
    chosen = draw(st.sets(st.sampled_from(sorted(possible))))
    values = {name: draw(possible[name]) for name in sorted(chosen)}
    if loss.startswith("triplet"):
        values.pop("fc7_lr_mult", None)  # they have no fc7
        values.pop("sampler", None)
    return TrainOptions(data_dir="faces", network=network, loss_type=loss, **values)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_any_run_is_read_back(options):
    source = text(options, NAMES)
    result = read(source)
    own = result.own_defaults()
    want = {name: None if value == own.get(name, ...) else value for name, value in vars(options).items()}
    got = {name: None if value == own.get(name, ...) else value for name, value in vars(result.options()).items()}
    assert got == want
    assert result.notes == []


def test_other_entries_are_not_the_runs():
    """The options of the chosen entries stand in them, not in config."""
    triplets = TrainOptions(data_dir="faces", loss_type="triplet_bag", network="y1", emb_size=64, **RUN_DEFAULTS)
    source = text(triplets, Names("y1", "faces", "triplet"))
    assert read(source).options().emb_size == 64
    other = read(source, "r50", "faces", "arcface").options()
    want = TrainOptions(data_dir="faces", prefix="./models/r50-arcface-faces/model")
    assert {**vars(other), "prefix": ""} == {**vars(want), "prefix": ""}


def test_own_file_is_converted():
    options = mapping(OF_2021, "y1", "faces", "cosface").options()
    assert read(text(options, Names("y1", "faces", "cosface"))).options() == options


def test_network_of_a_library_has_a_name_that_is_no_identifier():
    try:
        nets.family("gluoncv:mobilenet1.0")
    except InsightError as error:
        pytest.skip(str(error))
    options = TrainOptions(data_dir="faces", network="gluoncv:mobilenet1.0")
    source = text(options, NAMES)
    assert "network['net-1'].net_name = 'gluoncv:mobilenet1.0'" in source
    assert back(options) == options
