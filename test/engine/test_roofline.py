"""Bounds and tables: sums that are known, and docs/performance.md as the commands print it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from f1_ros.cli.main import main
from f1_ros.engine.precision import Numbers
from f1_ros.engine.roofline import DEVICES, VARIANTS, WIDTHS, Device, bound_ms
from f1_ros.engine.tables import FULL_LAYOUT
from f1_ros.engine.work import Pass
from f1_ros.model.manifest import FULL_SIZE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
ROUND = Device("round", bandwidth=1000, peak={"16 bit": 100, "8 bit": 200}, source="")


def test_a_run_takes_the_longer_of_moving_and_computing() -> None:
    moving = Pass("flow", flop=1, moved=Numbers(matrices=500_000_000))  # 1 GB in two bytes: 1 ms
    computing = Pass("prefix", flop=10**12, moved=Numbers(matrices=1))  # 1 TFLOP: 10 ms
    assert ROUND.milliseconds(moving, "16 bit") == pytest.approx(1.0)
    assert ROUND.milliseconds(moving, "8 bit") == pytest.approx(0.5)
    assert ROUND.milliseconds(computing, "16 bit") == pytest.approx(10.0)
    assert ROUND.milliseconds(computing, "8 bit") == pytest.approx(5.0)
    tables = Pass("flow", flop=1, moved=Numbers(others=500_000_000))  # what is no matrix keeps two bytes
    assert ROUND.milliseconds(tables, "8 bit") == pytest.approx(1.0)


def test_each_run_is_bound_by_itself_and_stages_follow_one_another() -> None:
    moving = Pass("flow", flop=1, moved=Numbers(matrices=500_000_000))
    computing = Pass("flow", flop=10**12, moved=Numbers(matrices=1))
    times = bound_ms(ROUND, [moving, computing, Pass("prefix", 10**12, Numbers())], "16 bit")
    assert times == pytest.approx({"flow": 11.0, "prefix": 10.0, "total": 21.0})


def test_every_device_has_figures_and_where_they_are_from() -> None:
    assert len(DEVICES) == 5
    for device in DEVICES:
        assert set(device.peak) == set(WIDTHS)
        assert device.peak["8 bit"] == pytest.approx(2 * device.peak["16 bit"], rel=0.001), device.name
        assert device.source.startswith("NVIDIA ")


def test_variants_differ_in_what_their_names_say() -> None:
    runs = [[one.stage for one in variant.passes(FULL_LAYOUT)] for variant in VARIANTS]
    released, kept, five, two_scales, blind, *_ = runs
    assert released.count("history_encoder") == FULL_SIZE.temporal_conv_kernel_size
    assert kept == [stage for i, stage in enumerate(released) if stage != "history_encoder" or i == 1]
    assert (kept.count("flow"), five.count("flow")) == (FULL_SIZE.num_steps, 5)
    assert [run.count("foresight") for run in (five, two_scales, blind)] == [3, 1, 0]
    times = [bound_ms(DEVICES[0], variant.passes(FULL_LAYOUT), "16 bit") for variant in VARIANTS]
    totals = [each["total"] for each in times]
    assert totals[:5] == sorted(totals[:5], reverse=True)
    assert [v.cameras for v in VARIANTS[-2:]] == [2, 1]
    assert totals[2] > totals[5] > totals[6]
    # Cameras change what is seen, not what history and flow steps compute.
    assert times[5]["history_encoder"] == times[2]["history_encoder"]


@pytest.mark.parametrize("command", ["f1-ros engine plan --config full", "f1-ros engine roofline"])
def test_the_document_shows_what_the_command_prints(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(rf"<!-- {command} -->\n\n(.*?)\n<!-- end -->", DOCUMENT, re.DOTALL)
    assert shown is not None
    assert main(command.split()[1:]) == 0
    assert capsys.readouterr().out == shown[1]


def test_the_plan_of_a_policy_counts_its_past_images_and_can_be_written(tmp_path: Path, policy_dir: Path) -> None:
    out = tmp_path / "plan.json"
    assert main(["engine", "plan", "--policy", str(policy_dir), "--precision", "fp16", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["images"] == 3  # two cameras and one past image
    assert list(report["plans"]) == ["fp16"]
    assert [stage["stage"] for stage in report["plans"]["fp16"]["stages"]][:2] == ["image_tower", "history_encoder"]
    assert report["results"][0]["value"] > 0


@pytest.mark.parametrize("cameras", ["1", "0"])
def test_a_plan_for_images_that_the_tower_does_not_take_is_refused(
    cameras: str, policy_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "plan", "--policy", str(policy_dir), "--cameras", cameras]) == 2
    assert "takes 3 images" in capsys.readouterr().err


def test_the_roofline_is_written_with_its_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "roofline.json"
    assert main(["engine", "roofline", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert len(report["bounds"]) == len(VARIANTS) * len(DEVICES) * len(WIDTHS)
    assert set(report["sources"]) == {device.name for device in DEVICES}
    assert all("computed" in result["name"] for result in report["results"])
