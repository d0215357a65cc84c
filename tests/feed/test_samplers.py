"""Samplers of triplet training: P identities x K images, and bags against plain loops."""

import json
from collections import Counter

import numpy as np
import plain_triplets
import pytest

from insight.errors import InsightError
from insight.feed import draws
from insight.feed.samplers import chosen
from insight.feed.samplers.bag import EMPTY_BAGS, Bag
from insight.feed.samplers.balanced import Balanced
from insight.mining import picking
from insight.mining.distances import to_unit
from insight.options import Option

# 12 identities of 2 to 7 images that do not stand together, and 3 of one image
LABELS = np.random.default_rng(0).permutation(np.r_[np.repeat(np.arange(12), [2, 3, 4, 5, 6, 7] * 2), 20, 21, 22])
USED = np.flatnonzero(LABELS != 7)  # as --images-filter leaves some out


def balanced(batch=20, seed=0, labels=LABELS, positions=USED, **options):
    return Balanced(labels, positions, batch, seed, **options)


@pytest.mark.parametrize("options", [{}, {"random_negatives": 8}, {"people_per_batch": 3}], ids=str)
def test_people_and_images_of_a_batch(options):
    sampler = balanced(images_per_identity=4, **options)
    people = {"": 5, "random_negatives": 3, "people_per_batch": 3}["".join(options)]
    assert sampler.people == people and sampler.batches_per_epoch == 11 // people
    counts = Counter(LABELS.tolist())
    seen: dict = {}
    for step in range(3 * sampler.batches_per_epoch):
        batch = sampler.batch(step)
        assert batch.dtype == np.int64 and set(batch.tolist()) <= set(USED.tolist())
        assert len(set(batch.tolist())) == len(batch) == 20  # enough others here
        labels, begin = LABELS[batch].tolist(), 0
        chosen_people = []
        for _ in range(people):  # identity after identity
            label = labels[begin]
            size = min(4, counts[label])
            assert labels[begin : begin + size] == [label] * size and size >= 2
            chosen_people.append(label)
            begin += size
        assert len(set(chosen_people)) == people and not set(labels[begin:]) & set(chosen_people)
        epoch = seen.setdefault(step // sampler.batches_per_epoch, [])
        assert not set(epoch) & set(chosen_people)  # once in a walk
        epoch += chosen_people
    assert len({tuple(walk) for walk in seen.values()}) == 3


def test_a_batch_is_a_function_of_seed_and_step():
    first, later = balanced(), balanced()
    batches = [first.batch(step) for step in range(9)]
    for step in (7, 2, 8):
        assert later.batch(step).tolist() == batches[step].tolist()
    assert balanced(seed=1).batch(0).tolist() != batches[0].tolist()


def test_all_images_come_up_and_fill_evenly():
    """Each image is as likely as another of its person, and a random negative as any other."""
    sampler = balanced(images_per_identity=2, random_negatives=16)
    own, fill = Counter(), Counter()
    for step in range(2000):
        batch = sampler.batch(step).tolist()
        own.update(batch[:4])
        fill.update(batch[4:])
    eligible = [i for i in USED.tolist() if (LABELS == LABELS[i]).sum() > 1]
    assert set(own) == set(eligible) and set(fill) == set(USED.tolist())
    seven = [own[i] for i in np.flatnonzero(LABELS == 5).tolist()]
    assert max(seven) < 1.6 * min(seven)
    singles = [fill[i] for i in np.flatnonzero(LABELS >= 20).tolist()]
    assert min(singles) > 0.85 * 16 * 2000 / len(USED)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"batch": 6}, r"--images-per-identity 5: a batch of 6 images has no place for two"),
        ({"batch": 5}, r"has no place for two identities"),
        ({"people_per_batch": 5}, r"no place for 5 identities of 5 images; use fewer"),
        ({"random_negatives": 18}, r"no place for two identities of 5 images beside --random-negatives 18"),
        ({"images_per_identity": 1}, r"--images-per-identity 1: must be at least 2"),
        ({"batch": 36, "images_per_identity": 3, "people_per_batch": 12}, r"12: only 11 of the 14 identities have two"),
        ({"labels": np.arange(64)}, r"no identity of the set has two images"),
        ({"labels": np.arange(64) % 4, "positions": np.arange(64), "batch": 21}, r"takes all 4 identities, and none"),
        (
            {"triplet_bag_size": 3},
            r"--triplet-bag-size 3: does nothing with --mining batch \(--sampler balanced\), which .*; leave it out, "
            "or add --mining bag$",
        ),
    ],
)
def test_what_makes_no_batches_is_refused(options, says):
    if options.get("batch") == 6:
        options = {**options, "people_per_batch": 0, "batch": 6, "random_negatives": 2}
    with pytest.raises(InsightError, match=says):
        balanced(**options)


def test_notes_name_people_of_one_image():
    assert balanced().notes == ["3 of 14 identities have one image: they are left out; --random-negatives takes them"]
    assert balanced(random_negatives=5).notes == [
        "3 of 14 identities have one image: they occur only as random negatives"
    ]


def network(position, walks):
    """The embedding of an image as the network gives it in some round."""
    draw = np.random.default_rng([position, walks])
    return (np.random.default_rng(int(LABELS[position])).normal(size=6) + 0.8 * draw.normal(size=6)).astype(np.float32)


def drive(sampler, steps, first=0):
    """Batches of a sampler with that network; the number of rounds is what it has learned."""
    batches, rounds = [], []
    for step in range(first, first + steps):
        wanted = sampler.look(step)
        while wanted is not None:
            embeddings = np.stack([network(i, sampler._bags) for i in wanted.tolist()])
            rounds.append((step, wanted.tolist(), sampler.mine(embeddings)))
            wanted = sampler.look(step)
        batches.append(sampler.batch(step).tolist())
    return batches, rounds


def plain_bags(batch, devices, bag, images, alpha, max_ap, steps, seed=0):
    """InsightFace's iterator by plain loops, with the random numbers of the sampler."""
    walks, bags, queue, out, looked = 0, 0, [], [], []

    def shuffled():
        people = sorted(set(LABELS[USED].tolist()))
        draw = draws.generator(seed, walks, draws.BAG)
        place, keys = draw.permutation(len(people)), draw.random(len(USED))
        walk = []
        for person in np.argsort(place):
            own = [k for k in range(len(USED)) if LABELS[USED[k]] == people[person]]
            walk += [int(USED[k]) for k in sorted(own, key=lambda k: keys[k])[:images]]
        return walk

    walk, begin = shuffled(), 0
    for step in range(steps):
        if len(queue) < batch:
            queue = []
            while len(queue) < 2 * batch:
                if begin + bag > len(walk):
                    walks, begin = walks + 1, 0
                    walk = shuffled()
                taken = walk[begin : begin + bag]
                looked.append((step, taken))
                unit = to_unit(np.stack([network(i, bags) for i in taken]))[0]
                labels = LABELS[taken]
                draw = picking.generator(seed, bags)
                uniforms = draw.random(len(plain_triplets.pairs_of(labels)))
                triplets = plain_triplets.picked(unit, labels, uniforms, alpha, max_ap)
                triplets = [triplets[i] for i in draw.permutation(len(triplets))]
                begin, bags = begin + bag, bags + 1
                each = batch // devices // 3
                while len(triplets) >= each:
                    for part in range(3):
                        queue += [taken[triplet[part]] for triplet in triplets[:each]]
                    triplets = triplets[each:]
        out.append(queue[:batch])
        queue = queue[batch:]
    return out, looked


@pytest.mark.parametrize(
    "batch, devices, bag, images, alpha, max_ap",
    [(6, 1, 24, 5, 0.3, 0.0), (12, 2, 24, 3, 0.5, 0.0), (9, 1, 36, 4, 0.8, 0.6), (12, 1, 12, 5, 0.4, 0.0)],
)
def test_bags_equal_plain_loops(batch, devices, bag, images, alpha, max_ap):
    options = {"triplet_bag_size": bag, "images_per_identity": images}
    options.update(triplet_alpha=alpha, triplet_max_ap=max_ap)
    sampler = Bag(LABELS, USED, batch, 0, devices=devices, **options)
    assert sampler.bag_size == bag == sampler.looked_at
    batches, rounds = drive(sampler, 60)
    want, looked = plain_bags(batch, devices, bag, images, alpha, max_ap, 60)
    assert batches == want
    assert [(step, wanted) for step, wanted, _ in rounds] == looked and len(rounds) > 5
    assert sampler._walks > 1
    assert bag > batch or max(Counter(step for step, _ in looked).values()) > 1  # several bags for two batches
    mined = rounds[-1][2]
    assert mined.images == bag and mined.triplets >= mined.queued // 9 and min(mined.seconds) >= 0


def test_one_device_and_two_get_the_same_triplets():
    def triplets(devices):
        sampler = Bag(LABELS, USED, 12, 0, devices=devices, triplet_bag_size=24)
        batches, _ = drive(sampler, 20)
        return [np.array(b).reshape(devices, 3, -1).transpose(0, 2, 1).reshape(-1, 3).tolist() for b in batches]

    assert triplets(1) == triplets(2)


def test_a_bag_resumes():
    options = {"triplet_bag_size": 24, "triplet_alpha": 0.6}
    whole = Bag(LABELS, USED, 6, 0, **options)
    batches, _ = drive(whole, 30)
    for stop in range(0, 30, 4):
        before = Bag(LABELS, USED, 6, 0, **options)
        drive(before, stop)
        state = json.loads(json.dumps(before.state()))
        before.look(stop)  # planned ahead: must change nothing of the state
        after = Bag(LABELS, USED, 6, 0, **options)
        after.restore(state)
        assert drive(after, 30 - stop, stop)[0] == batches[stop:]


def test_a_bag_is_rounded_and_says_so():
    assert Bag(LABELS, USED, 9, 0, triplet_bag_size=30).notes[0] == (
        "--triplet-bag-size 30: 27 are used, whole batches of 9"
    )
    sampler = Bag(LABELS, USED, 9, 0)
    assert sampler.bag_size == 45 and "whole batches of 9, of the 48 that the set has" in sampler.notes[0]
    assert "3 of 14 identities have one image: they occur only as negatives" in sampler.notes[1]
    with pytest.raises(InsightError, match=r"--triplet-bag-size 48: smaller than a batch of 51 images"):
        Bag(LABELS, USED, 51, 0)
    with pytest.raises(InsightError, match="no identity of the set has two images"):
        Bag(np.arange(64), USED, 9, 0)


def test_bags_without_triplets_stop_the_run():
    sampler = Bag(LABELS, USED, 6, 0, triplet_bag_size=24, triplet_alpha=0.0)
    with pytest.raises(
        InsightError, match=rf"^{EMPTY_BAGS} bags in a row gave no batch of triplets .*--triplet-alpha 0 "
    ):
        drive(sampler, 1)
    assert sampler._bags == EMPTY_BAGS


def test_an_option_that_another_component_uses_is_not_refused():
    values = {"triplet_alpha": 0.5, "images_per_identity": 3}
    with pytest.raises(InsightError, match="--triplet-alpha 0.5: does nothing with --mining batch"):
        chosen("balanced", values)(LABELS, USED, 20, 0)
    sampler = chosen("balanced", values, elsewhere=(Option("triplet_alpha", 0.3, ""),))(LABELS, USED, 20, 0)
    assert sampler.options.images_per_identity == 3
    assert chosen("bag", values, 2)(LABELS, USED, 12, 0).options.triplet_alpha == 0.5
