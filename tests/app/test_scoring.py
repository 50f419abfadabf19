"""Scores come of probabilities, with one encoder pass a frame; a frame or a network that gives none is named."""

from __future__ import annotations

from statistics import mean

import pytest

from tests.app.conftest import Scenario, found_in_image


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return found_in_image("scoring_in_image.py")


def test_a_frame_is_decoded_and_encoded_once(scenario: Scenario) -> None:
    assert scenario("counted")["calls"] == {"decoded": 1, "encoder": 1, "decoder": 3}


def test_nothing_but_dropout_is_random(scenario: Scenario) -> None:
    random = scenario("counted")["random"]
    assert random
    assert all("Dropout" in name for name in random), random


def test_the_halves_say_what_the_whole_network_says(scenario: Scenario) -> None:
    found = scenario("whole_passes")
    assert found["far"] < 1e-6
    assert found["mean"] > 0
    assert found["least"] > -1e-6


def test_a_frame_leaves_nothing_in_the_network(scenario: Scenario) -> None:
    found = scenario("remembered")
    assert found["known"] > 100
    assert found["changed"] == []


def test_frames_unlike_those_of_the_training_score_higher(scenario: Scenario) -> None:
    found = scenario("unfamiliar")
    higher = [brass > steel for brass in found["brass"] for steel in found["steel"]]
    assert mean(higher) > 0.75


def test_what_a_score_comes_of_is_kept_as_a_picture_the_right_way_round(scenario: Scenario) -> None:
    found = scenario("heat_maps")
    assert found["size"] == found["seen"]
    assert found["size"][0] > found["size"][1]
    assert found["together"] > 0.8


def test_heat_maps_are_those_of_the_model_that_decides(scenario: Scenario) -> None:
    assert scenario("two_models")["maps"] == {"two": 0, "one": 1}


def test_one_bad_frame_does_not_end_a_scoring(scenario: Scenario) -> None:
    found = scenario("bad_frames")
    known = found["known"]
    assert [bool(known[name]["unreadable"]) for name in sorted(known)] == [False, True, False]
    assert "epistemic_entropy" not in known["frame_1"]
    assert all(0 < known[name]["epistemic_entropy"] < 1 for name in ("frame_0", "frame_2"))
    assert found["same"], "it is known not to be worth another try with these weights, as long as it is the same file"
    assert not found["mended"]["unreadable"]
    assert 0 < found["mended"]["epistemic_entropy"] < 1


def test_what_is_not_a_frames_fault_is_not_laid_to_it(scenario: Scenario) -> None:
    found = scenario("full_gpu")
    assert found["said"] == "CUDA out of memory"
    assert found["known"].pop("frame_1") == {}
    assert all(0 < each["epistemic_entropy"] < 1 for each in found["known"].values()), "others are scored all the same"


def test_a_network_without_dropout_ends_a_scoring(scenario: Scenario) -> None:
    found = scenario("never_unsure")
    assert found["said"] == "the network has no dropout, so that it is never unsure"
    assert [*found["known"].values()] == [{}]
