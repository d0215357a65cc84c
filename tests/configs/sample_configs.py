"""Small config.py files in the shape of InsightFace's samples of 2021 and of January 2019, with values of their own."""

from insight.configs.mapped import mapped
from insight.configs.userfile import ConfigFile

OF_2021 = """\
import numpy as np
import os
from easydict import EasyDict as edict

config = edict()
config.bn_mom = 0.95
config.workspace = 128
config.emb_size = 384
config.ckpt_embedding = True
config.net_se = 0
config.net_act = 'prelu'
config.net_unit = 3
config.net_input = 1
config.net_blocks = [1, 4, 6, 2]
config.net_output = 'E'
config.net_multiplier = 1.0
config.val_targets = ['none']
config.ce_loss = True
config.fc7_lr_mult = 1.0
config.fc7_wd_mult = 2.5
config.fc7_no_bias = False
config.max_steps = 77
config.data_rand_mirror = False
config.data_cutoff = 11
config.data_color = 1
config.data_images_filter = 4
config.count_flops = True
config.memonger = False
config.is_shuffled_rec = False
config.fp16 = False

network = edict()
network.r100 = edict(net_name='fresnet', num_layers=100)
network.r101 = edict(net_name='fresnet', num_layers=101)
network.r100fc = edict()
network.r100fc.net_name = 'fresnet'
network.r100fc.num_layers = 100
network.r100fc.net_output = 'FC'
network.r50se = edict(net_name='fresnet', num_layers=50, net_unit=1, net_se=1, net_input=0, net_act='relu')
network.r77 = edict()
network.r77.net_name = 'fresnet'
network.r77.num_layers = 77
network.y1 = edict(net_name='fmobilefacenet', emb_size=96, net_output='GDC')
network.y1e = edict(net_name='fmobilefacenet', emb_size=96, net_se=1)
network.y2 = edict(net_name='fmobilefacenet', emb_size=192, net_output='GDC', net_blocks=[2, 8, 16, 4])
network.y3 = edict(net_name='fmobilefacenet')
network.y3.net_blocks = [1, 2, 3, 1]
network.yrelu = edict(net_name='fmobilefacenet', net_act='relu')
network.d169 = edict()
network.d169.net_name = 'fdensenet'
network.d169.num_layers = 169
network.d169.per_batch_size = 40
network.m05 = edict(net_name='fmobilenet', net_multiplier=0.5)
network.mnas = edict(net_name='fmnasnet', net_multiplier=1.0)
network.varg = edict(net_name='vargfacenet', net_multiplier=1.25)
network.small = edict(net_name='fresnet', num_layers=18, per_batch_size=40)
network.nameless = edict(emb_size=12)
network.depthless = edict(net_name='fresnet')

dataset = edict()
dataset.faces = edict()
dataset.faces.dataset = 'faces'
dataset.faces.dataset_path = 'sets/faces'
dataset.faces.num_classes = 3000
dataset.faces.image_shape = (112, 112, 3)
dataset.faces.val_targets = ['one', 'two']
dataset.retina = edict(dataset='retina', dataset_path='sets/retina', num_classes=20, image_shape=(96, 96, 3))
dataset.grey = edict(dataset_path='sets/grey')
dataset.grey.image_shape = (112, 112, 1)

loss = edict()
loss.softmax = edict(loss_name='softmax')
loss.nsoftmax = edict(loss_name='margin_softmax', loss_s=60.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.0)
loss.arcface = edict(loss_name='margin_softmax', loss_s=60.0, loss_m1=1.0, loss_m2=0.45, loss_m3=0.0)
loss.cosface = edict(loss_name='margin_softmax', loss_s=60.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.3)
loss.combined = edict(loss_name='margin_softmax', loss_s=60.0, loss_m1=0.9, loss_m2=0.25, loss_m3=0.15)
loss.negative = edict(loss_name='margin_softmax', loss_s=60.0, loss_m1=1.0, loss_m2=0.0)
loss.negative.loss_m3 = -0.3
loss.marginless = edict(loss_name='margin_softmax', loss_s=60.0)
loss.triplet = edict(loss_name='triplet', images_per_identity=6, triplet_alpha=0.25, triplet_bag_size=720,
                     triplet_max_ap=0.5, per_batch_size=30, lr=0.02)
loss.atriplet = edict(loss_name='atriplet', images_per_identity=4, triplet_alpha=0.4, triplet_bag_size=480,
                      triplet_max_ap=0.0, per_batch_size=30, lr=0.02)
loss.centre = edict()
loss.centre.loss_name = 'centre'
loss.ours = edict(loss_type='adaface', margin_m=0.35, margin_h=0.3, warmup=100, lr_schedule='cosine')
loss.nobody = edict(loss_type='nobody')

default = edict()
default.network = 'r100'
default.pretrained = ''
default.pretrained_epoch = 7
default.dataset = 'faces'
default.loss = 'arcface'
default.frequent = 21
default.verbose = 2200
default.kvstore = 'device'
default.end_epoch = 900
default.lr = 0.11
default.wd = 0.0006
default.mom = 0.91
default.per_batch_size = 120
default.ckpt = 2
default.lr_steps = '1000,1600'
default.models_root = 'runs'


def generate_config(_network, _dataset, _loss):
    for table in (loss[_loss], network[_network], dataset[_dataset]):
        for k, v in table.items():
            config[k] = v
            if k in default:
                default[k] = v
    config.loss = _loss
    config.network = _network
    config.dataset = _dataset
    config.num_workers = int(os.environ.get('DMLC_NUM_WORKER', 1))
    config.fp16 = False
"""
# Each loss has a loss_name of its own, the networks a num_layers that nothing reads, the data set is joined last.
OF_2019 = """\
from easydict import EasyDict as edict

config = edict()
config.bn_mom = 0.9
config.workspace = 256
config.emb_size = 512
config.net_se = 0
config.net_act = 'prelu'
config.net_unit = 3
config.net_input = 1
config.net_output = 'E'
config.net_multiplier = 1.0
config.val_targets = ['lfw']

network = edict()
network.r50 = edict(net_name='fresnet', num_layers=50)
network.y1 = edict(net_name='fmobilefacenet', num_layers=1, emb_size=128, net_output='GDC')

dataset = edict()
dataset.faces = edict(dataset='faces', dataset_path='./faces', num_classes=9, image_shape=(112, 112, 3), lr=0.3)

loss = edict()
loss.softmax = edict(loss_name='softmax', loss_s=-1.0, loss_m1=0.0, loss_m2=0.0, loss_m3=0.0)
loss.nsoftmax = edict(loss_name='nsoftmax', loss_s=32.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.0)
loss.arcface = edict(loss_name='arcface', loss_s=32.0, loss_m1=1.0, loss_m2=0.4, loss_m3=0.0, lr=0.2)
loss.cosface = edict(loss_name='cosface', loss_s=32.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.2)
loss.combined = edict(loss_name='combined', loss_s=32.0, loss_m1=1.1, loss_m2=0.3, loss_m3=0.1)

default = edict()
default.network = 'r50'
default.pretrained = 'old/model'
default.pretrained_epoch = 0
default.dataset = 'faces'
default.loss = 'arcface'
default.frequent = 20
default.verbose = 2000
default.kvstore = 'device'
default.end_epoch = 10000
default.lr = 0.1
default.wd = 0.0005
default.mom = 0.9
default.per_batch_size = 128
default.ckpt = 3
default.lr_steps = '1000'
default.models_root = './models'


def generate_config(_network, _dataset, _loss):
    for entry in (network[_network], dataset[_dataset], loss[_loss]):
        for k, v in entry.items():
            config[k] = v
            if k in default:
                default[k] = v
    config.network = _network
    config.dataset = _dataset
    config.loss = _loss
"""


def mapping(source=OF_2021, network=None, dataset=None, loss=None, **typed):
    """What a file and a command line stand for."""
    return mapped(ConfigFile("config.py", source).join(network, dataset, loss), typed)
