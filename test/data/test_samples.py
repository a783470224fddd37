"""What a sample holds, in which order samples come, and that a resumed or a split run sees the same ones."""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.data.embodiment import Ends, Franka
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.samples import Drawn, Sample, SampleLoader, SampleSource, SampleSpec, shuffled
from f1_ros.data.sources import DatasetConfig, EpisodeSamples, Mixture, mixture, split_episodes
from f1_ros.errors import ConfigError, DataError

from .conftest import CAMERAS, Writer, episode, grey

SPEC = SampleSpec(
    cameras=CAMERAS,
    image_size=32,
    history_resize=40,
    history_size=32,
    history_offsets=(-6, -3, 0),
    foresight_offset=3,
    chunk_size=5,
)
GENERATOR = np.random.default_rng(0)
MADE = [episode(0, 12), episode(1, 20), episode(2, 15, "stack")]


def whole(root: Path, spec: SampleSpec = SPEC, **config: object) -> EpisodeSamples:
    dataset = LeRobotDataset(root)
    return EpisodeSamples(dataset, spec, range(len(dataset.episodes)), DatasetConfig(root, **config))


class Counting:
    """A source of 10 samples that are only their index and a random number."""

    def __init__(self, length: int = 10) -> None:
        self.length = length
        self.made: list[int] = []
        self.release = threading.Event()
        self.release.set()

    def __len__(self) -> int:
        return self.length

    def samples(self, drawn: Sequence[Drawn]) -> list[Sample]:
        self.release.wait()
        self.made += [index for index, _ in drawn]
        none = np.zeros(0)
        return [Sample(none, none, none, none, none, g.random(1), none, "", 0, 0, index) for index, g in drawn]


def one(source: SampleSource, index: int, generator: np.random.Generator = GENERATOR) -> Sample:
    (sample,) = source.samples([(index, generator)])
    return sample


def seen(samples: list[Sample]) -> list[tuple[int, float]]:
    return [(s.frame, float(s.actions[0])) for s in samples]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_sample_is_cut_from_its_episode(version: str, kind: str, write_dataset: Writer) -> None:
    source = whole(write_dataset(version=version, kind=kind))
    assert len(source) == 47
    sample = one(source, 12 + 10)  # episode 1, frame 10
    assert (sample.dataset, sample.episode, sample.frame) == (0, 1, 10)
    assert sample.instruction == "pick the cube"
    assert [int(h[0, 16, 2]) for h in sample.history] == pytest.approx([grey(1, f) for f in (4, 7, 10)], abs=2)
    assert int(sample.target[0, 16, 2]) == pytest.approx(grey(1, 13), abs=2)
    assert (sample.history.shape, sample.history.dtype, sample.target.shape) == ((3, 3, 32, 32), np.uint8, (3, 32, 32))
    recorded = episode(1, 20)
    np.testing.assert_array_equal(sample.state, recorded.state[10])
    np.testing.assert_array_equal(sample.actions, recorded.action[10:15])
    assert not sample.action_is_pad.any()
    # 48 x 64 fits 32 x 32 with 8 black rows on top; the left half is grey, the right half red or green.
    assert (sample.images.shape, sample.images.dtype) == ((2, 3, 32, 32), np.float32)
    assert (sample.images[:, :, :8] == -1).all()
    assert sample.images[0, :, 20, 4] == pytest.approx([grey(1, 10) / 127.5 - 1] * 3, abs=0.02)
    assert sample.images[1, :, 20, 28] == pytest.approx([-1, 200 / 127.5 - 1, -1], abs=0.03)
    assert sample.present.tolist() == [True, True]


def test_windows_end_at_the_episodes_ends(write_dataset: Writer) -> None:
    source = whole(write_dataset())
    first, last = one(source, 12), one(source, 31)
    assert [int(h[0, 16, 2]) for h in first.history] == [grey(1, 0)] * 3
    assert (last.episode, last.frame) == (1, 19)
    assert int(last.target[0, 16, 2]) == grey(1, 19)
    np.testing.assert_array_equal(last.actions, np.repeat(episode(1, 20).action[-1:], 5, 0))
    assert last.action_is_pad.tolist() == [False, True, True, True, True]
    assert one(source, 29).action_is_pad.tolist() == [False] * 3 + [True] * 2


def test_random_crops_differ_between_samples_and_not_within_one(write_dataset: Writer) -> None:
    made = [episode(0, 12)]
    rows = np.broadcast_to(np.linspace(0, 250, 48, dtype=np.uint8)[:, None, None], (48, 64, 3))
    made[0].pictures = {c: [rows.copy() for _ in range(12)] for c in CAMERAS}
    root = write_dataset(made)
    source = whole(root, dataclasses.replace(SPEC, random_crop=True))
    crops = [one(source, 9, np.random.default_rng(i)) for i in range(8)]
    for sample in crops:
        assert all((h == sample.target).all() for h in sample.history)
    assert len({int(s.target[0, 0, 0]) for s in crops}) > 2
    again = one(source, 9, np.random.default_rng(3))
    np.testing.assert_array_equal(again.history, crops[3].history)


def test_a_camera_that_the_dataset_lacks_is_black_and_not_present(write_dataset: Writer) -> None:
    spec = dataclasses.replace(SPEC, cameras=(*CAMERAS, "observation.images.third"))
    sample = one(whole(write_dataset(), spec), 0)
    assert sample.present.tolist() == [True, True, False]
    assert (sample.images[2] == -1).all()


@pytest.mark.parametrize("size", [32, 48])
def test_samples_made_together_are_those_made_one_by_one(size: int, write_dataset: Writer) -> None:
    square = [dataclasses.replace(e, pictures={c: [p[:, :48] for p in v] for c, v in e.pictures.items()}) for e in MADE]
    a, b = write_dataset(name="wide"), write_dataset(square, name="square")
    spec = dataclasses.replace(
        SPEC, cameras=(*CAMERAS, "observation.images.third"), image_size=size, history_resize=48, random_crop=True
    )
    mixed = mixture([DatasetConfig(a, held_out=0.0), DatasetConfig(b, held_out=0.0)], spec, split="train")
    order = [90, 3, 50, 0, 46, 47, 93, 3]
    together = mixed.samples([(i, np.random.default_rng(i)) for i in order])
    for index, sample in zip(order, together, strict=True):
        alone = one(mixed, index, np.random.default_rng(index))
        for name, value in vars(alone).items():
            np.testing.assert_array_equal(getattr(sample, name), value)


def test_cameras_can_have_other_names_and_the_first_one_must_be_there(write_dataset: Writer) -> None:
    root = write_dataset()
    spec = dataclasses.replace(SPEC, cameras=("front", "wrist"))
    sample = one(whole(root, spec, cameras={"front": CAMERAS[0], "wrist": CAMERAS[1]}), 5)
    assert sample.present.all()
    with pytest.raises(DataError, match=r"no feature front.*observation\.images\.front"):
        whole(root, spec)
    with pytest.raises(ConfigError, match="renames side"):
        whole(root, spec, cameras={"front": CAMERAS[0], "side": CAMERAS[1]})


def test_an_embodiment_is_applied(write_dataset: Writer) -> None:
    made = [episode(0, 12)]
    source = whole(write_dataset(made))
    source_with = whole(
        source.dataset.root, embodiment=Franka(state_gripper=Ends(0.0, 0.08), action_gripper=Ends(0.0, 0.08))
    )
    with pytest.raises(DataError, match=r"shape \(4,\) meets an embodiment of 8"):
        one(source_with, 0)


def test_nan_and_missing_words_name_the_frame(write_dataset: Writer) -> None:
    made = [episode(0, 12), episode(1, 12, " ")]
    made[0].action[7, 2] = np.nan
    root = write_dataset(made)
    source = whole(root)
    with pytest.raises(DataError, match="episode 0, frame 5: action is not finite"):
        one(source, 5)
    with pytest.raises(DataError, match="episode 1, frame 3 has no instruction"):
        one(source, 15)
    assert one(whole(root, instruction="push"), 15).instruction == "push"


def test_the_split_is_by_whole_episodes_and_always_the_same(write_dataset: Writer) -> None:
    train, held = split_episodes(40, 0.1, "train"), split_episodes(40, 0.1, "held_out")
    assert (len(train), len(held)) == (36, 4)
    assert sorted(train + held) == split_episodes(40, 0.1, "all") == list(range(40))
    assert split_episodes(3, 0.01, "held_out") == split_episodes(3, 0.3, "held_out")
    assert len(split_episodes(3, 0.01, "held_out")) == 1
    assert split_episodes(3, 0.0, "held_out") == []
    assert split_episodes(1, 0.5, "train") == [0]
    root = write_dataset()
    both = [mixture([DatasetConfig(root)], SPEC, split=s) for s in ("train", "held_out")]
    assert sum(len(m) for m in both) == 47
    with pytest.raises(DataError, match="no episode for the split 'held_out'"):
        mixture([DatasetConfig(root, held_out=0.0)], SPEC, split="held_out")


def test_a_mixture_without_weights_shows_every_sample_once() -> None:
    mixed = Mixture([Counting(3), Counting(7)], [None, None])
    assert [one(mixed, i).frame for i in range(10)] == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6]


def test_weights_set_the_share_of_each_dataset(write_dataset: Writer) -> None:
    a, b = write_dataset([episode(0, 12)], name="a"), write_dataset([episode(1, 40)], name="b")
    configs = [DatasetConfig(a, weight=3.0, held_out=0.0), DatasetConfig(b, weight=1.0, held_out=0.0)]
    with SampleLoader(mixture(configs, SPEC, split="train"), 52, 0, 2) as loader:
        drawn = [s.dataset for s in loader.batch(0)]
    assert (drawn.count(0), drawn.count(1)) == (39, 13)
    with pytest.raises(ConfigError, match="2 datasets have 1 weights"):
        mixture([configs[0], DatasetConfig(b)], SPEC, split="train")


def test_an_epoch_is_a_shuffle_of_all_samples_and_the_next_another() -> None:
    with SampleLoader(Counting(), 5, seed=4, threads=3) as loader:
        epochs = [[s.frame for step in (2 * e, 2 * e + 1) for s in loader.batch(step)] for e in range(3)]
    assert [sorted(e) for e in epochs] == [list(range(10))] * 3
    assert epochs[0] != list(range(10))
    assert epochs[0] != epochs[1] != epochs[2]


@given(length=st.integers(1, 3000), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_shuffled_is_a_permutation(length: int, seed: int, epoch: int) -> None:
    assert sorted(shuffled(i, length, seed, epoch) for i in range(length)) == list(range(length))


def test_resuming_at_any_step_gives_the_same_samples() -> None:
    with SampleLoader(Counting(), 4, seed=1, threads=4) as loader:
        straight = [seen(loader.batch(step)) for step in range(8)]
    for start in (0, 3, 7):
        with SampleLoader(Counting(), 4, seed=1, threads=1, prefetch=0) as loader:
            assert [seen(loader.batch(step)) for step in range(start, 8)] == straight[start:]
    with SampleLoader(Counting(), 4, seed=2, threads=1) as loader:
        assert seen(loader.batch(0)) != straight[0]


def test_two_processes_see_together_what_one_sees_with_the_doubled_batch() -> None:
    with SampleLoader(Counting(), 6, seed=1, threads=2) as loader:
        whole_batches = [seen(loader.batch(step)) for step in range(4)]
    halves = []
    for rank in (0, 1):
        with SampleLoader(Counting(), 3, seed=1, threads=2, rank=rank, world=2) as loader:
            halves.append([seen(loader.batch(step)) for step in range(4)])
    assert [a + b for a, b in zip(*halves, strict=True)] == whole_batches


def test_the_next_steps_are_made_ahead_and_waiting_is_counted() -> None:
    source = Counting(100)
    with SampleLoader(source, 2, seed=0, threads=1, prefetch=3) as loader:
        loader.batch(0)
        loader._pool.submit(int).result()  # one thread: what was asked for before this is done now
        assert len(source.made) == 8
        assert loader.samples == 2
        assert 0.0 < loader.waited_s
        assert 0.0 < loader.waiting_share <= 1.0
        assert loader.samples_per_s > 0.0


def test_a_sample_that_fails_fails_its_batch_only(write_dataset: Writer) -> None:
    made = [episode(0, 12)]
    made[0].state[4] = np.nan
    with SampleLoader(whole(write_dataset(made)), 1, seed=0, threads=2) as loader:
        failed = 0
        for step in range(12):
            try:
                loader.batch(step)
            except DataError:
                failed += 1
    assert failed == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": ()}, "cameras"),
        ({"cameras": ("a", "a")}, "cameras"),
        ({"history_offsets": (-3, -6, 0)}, "ascend to 0"),
        ({"history_offsets": (-3, -1)}, "ascend to 0"),
        ({"chunk_size": 0}, "chunk_size 0"),
        ({"history_size": 64}, "history_resize"),
    ],
)
def test_contradictions_in_a_spec_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SPEC, **change)


@pytest.mark.parametrize(
    "change", [{"batch_size": 0}, {"threads": 0}, {"seed": -1}, {"prefetch": -1}, {"rank": 2}, {"source": Counting(0)}]
)
def test_loader_arguments_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SampleLoader(**{"source": Counting(), "batch_size": 1, "seed": 0, "threads": 1, "world": 2, **change})
