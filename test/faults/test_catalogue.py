"""The catalogue of faults: complete, possible to make, and as docs/faults.md shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from f1_ros.bringup import franka
from f1_ros.bringup_options import FrankaOptions
from f1_ros.cli.main import main
from f1_ros.errors import ConfigError
from f1_ros.faults.alterations import ALTERATIONS, links, parse
from f1_ros.faults.catalogue import catalogue, choose
from f1_ros.faults.fault import Action, Base, Fault, Relayed
from f1_ros.faults.system import describe
from f1_ros.faults.table import markdown
from f1_ros.robots.profile import load_profile

REPO = Path(__file__).parents[2]
PROFILE = load_profile("franka_fr3")
FAULTS = catalogue(PROFILE)
LINKS = links(PROFILE)


def test_there_are_at_least_thirty_faults_each_with_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_made_and_its_times_are_not_below_what_they_wait_for(fault: Fault) -> None:
    processes = {process.name for process in describe("f1_belt", Path("x")).processes}
    assert fault.strikes is None or fault.strikes in processes
    if isinstance(fault.injection, Relayed):
        assert parse(fault.injection.alterations, LINKS)
    if "no usable action chunk" in fault.reason:
        assert fault.within_s > PROFILE.timeouts.policy
    if "no joint state" in fault.reason:
        assert fault.within_s > PROFILE.timeouts.joint_state
    if "no leader" in fault.reason:
        assert fault.within_s > PROFILE.timeouts.teleop
    if fault.action is not Action.GOES_ON:
        assert fault.named is not None or "the supervisor says so" in fault.note


def test_faults_are_chosen_by_name_in_the_catalogues_order_and_an_unknown_one_is_refused() -> None:
    assert [f.name for f in choose(["chunk_nan", "camera_black"], PROFILE)] == ["camera_black", "chunk_nan"]
    assert choose([], PROFILE) == FAULTS
    with pytest.raises(ConfigError, match="no fault camera_blue") as caught:
        choose(["camera_blue"], PROFILE)
    assert "faults list" in caught.value.remedy


def test_a_fault_without_a_time_or_a_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="not positive"):
        Fault("a", "b", Base.POLICY, Relayed(""), Action.GOES_ON, 0.0, "now", None)
    with pytest.raises(ConfigError, match="FAULT needs one"):
        Fault("a", "b", Base.POLICY, Relayed(""), Action.FAULT, 1.0, "now", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("side:drop", "is of no link"),
        ("front:melt", "knows no alteration 'melt'"),
        ("front:drop,front:freeze", "two alterations"),
        ("front:delay", "needs a figure"),
        ("front:delay:nan", "needs a figure"),
        ("front:delay:-1", "needs a figure"),
        ("front:drop:1", "takes no figure"),
        ("front:delay:1:2", "is of no link"),
        ("clock:nan", "knows no alteration"),
    ],
)
def test_an_alteration_that_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse(text, LINKS)
    assert caught.value.remedy


def test_every_alteration_is_used_by_a_fault() -> None:
    kinds = {link.name: link.kind for link in LINKS}
    texts = [fault.injection.alterations for fault in FAULTS if isinstance(fault.injection, Relayed)]
    used = {(kinds[a.link], a.how) for text in texts for a in parse(text, LINKS)}
    assert {how for _, how in used} == {how for hows in ALTERATIONS.values() for how in hows}


def test_the_relay_stands_between_the_robot_and_all_that_listens_to_it() -> None:
    system = {process.name: process for process in describe("f1_belt").processes}
    plain = {process.name: process for process in franka(FrankaOptions(sim=True)).processes}
    assert set(system) == {*plain, "relay_node"}
    renamed = [pair for process in system.values() for pair in process.remappings]
    assert sorted(renamed) == sorted((link.topic, link.source) for link in LINKS)
    assert not system["action_node"].remappings
    assert system["action_node"].parameters == plain["action_node"].parameters


def test_the_document_shows_the_catalogue() -> None:
    assert markdown(PROFILE) in (REPO / "docs" / "faults.md").read_text()


def test_the_list_names_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [fault.name for fault in FAULTS]
