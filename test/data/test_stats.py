"""Statistics are exact, whatever the numbers, and of the shape that normalisation reads."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.data import stats
from f1_ros.data.lerobot import LeRobotDataset
from f1_ros.data.stats import statistics, vector_keys, write_dataset_statistics
from f1_ros.errors import DataError
from f1_ros.observe.normalise import Normaliser

from .conftest import CAMERAS, Writer, episode


def exact(values: np.ndarray) -> dict[str, np.ndarray]:
    """By numpy, all at once."""
    quantiles = np.quantile(values, [0.01, 0.99], axis=0, method="inverted_cdf")
    return {
        "mean": values.mean(0), "std": values.std(0), "min": values.min(0), "max": values.max(0),
        "q01": quantiles[0], "q99": quantiles[1],
    }  # fmt: skip


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_they_are_numpys_over_all_episodes(version: str, write_dataset: Writer) -> None:
    episodes = [episode(i, 70 + i) for i in range(4)]
    dataset = LeRobotDataset(write_dataset(episodes, version))
    assert vector_keys(dataset) == ["observation.state", "action"]
    for key, rows in (("observation.state", "state"), ("action", "action")):
        found = statistics(dataset, key)
        assert found.count == 286
        for name, value in exact(np.concatenate([getattr(e, rows) for e in episodes]).astype(np.float64)).items():
            np.testing.assert_allclose(getattr(found, name), value, rtol=1e-12, atol=1e-12, err_msg=f"{key} {name}")


class InMemory:
    """Enough of a dataset for `statistics`."""

    root = "memory"

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts
        self.episodes = self
        self.lengths = np.array([len(p) for p in parts])

    def __len__(self) -> int:
        return len(self.parts)

    def numbers(self, episode: int, key: str) -> np.ndarray:
        return self.parts[episode]


NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, -1.0, 0.08])


@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=300),
    batch=st.integers(1, 400),
    cut=st.integers(1, 60),
)
def test_quantiles_are_exact_for_any_numbers_and_any_batches(
    rows: list[tuple[float, float]], batch: int, cut: int
) -> None:
    values = np.array(rows, np.float64)
    parts = [values[i : i + cut] for i in range(0, len(values), cut)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stats, "_BATCH_ROWS", batch)
        found = statistics(InMemory(parts), "action")  # type: ignore[arg-type]
    wanted = exact(values)
    spread = float(np.ptp(values, axis=0).max())
    for name in ("min", "max", "q01", "q99"):
        np.testing.assert_allclose(getattr(found, name), wanted[name], rtol=0, atol=1e-8 * spread)
    for name in ("mean", "std"):
        np.testing.assert_allclose(getattr(found, name), wanted[name], rtol=1e-6, atol=1e-6 * max(1.0, spread))


@pytest.mark.parametrize("mode", ["mean_std", "min_max", "quantile"])
def test_an_entry_is_what_normalisation_reads(mode: str, write_dataset: Writer) -> None:
    dataset = LeRobotDataset(write_dataset())
    found = statistics(dataset, "action")
    normaliser = Normaliser.from_stats(json.loads(json.dumps(found.entry(mode))), 8, "action")
    low = normaliser.normalise(found.mean if mode == "mean_std" else found.min if mode == "min_max" else found.q01)
    assert low[:4] == pytest.approx({"mean_std": 0.0, "min_max": 0.0, "quantile": -1.0}[mode], abs=1e-6)


def test_nan_names_its_frame_and_an_empty_dataset_is_refused(write_dataset: Writer) -> None:
    episodes = [episode(0, 12), episode(1, 12)]
    episodes[1].state[4, 0] = np.nan
    dataset = LeRobotDataset(write_dataset(episodes))
    with pytest.raises(DataError, match=r"episode 1, frame 4: observation\.state is not finite"):
        statistics(dataset, "observation.state")
    with pytest.raises(DataError, match="has no frames"):
        statistics(InMemory([]), "action")  # type: ignore[arg-type]


def test_the_datasets_own_file_has_cameras_too(write_dataset: Writer) -> None:
    dataset = LeRobotDataset(write_dataset(kind="video"))
    written = json.loads(write_dataset_statistics(dataset).read_text())
    assert sorted(written) == sorted(["action", "observation.state", *CAMERAS])
    assert written["action"]["count"] == [47]
    front = np.array(written[CAMERAS[0]]["mean"])
    assert front.shape == (3, 1, 1)
    assert front[0, 0, 0] > front[1, 0, 0] + 0.3  # its right half is red
    assert np.array(written[CAMERAS[0]]["max"]).max() <= 1.0
