"""Several instances of MONAI Label: what each has, where people find it, and who wants the same."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.doubles import doubles
from ansible_collections.endolab.active_learning.plugins.filter.gpu_rivals import gpu_rivals
from ansible_collections.endolab.active_learning.plugins.filter.instances import instances
from ansible_collections.endolab.active_learning.plugins.filter.routes import routes

HOST: dict[str, Any] = {
    "app": "apps/endoscopy",
    "app_source": "endolab",
    "apps_dir": "/srv/apps",
    "bundle": "bundle.zip",
    "bundle_checksum": "sha1:0",
    "bundle_name": "tools",
    "conf": {"epistemic_top_k": 5},
    "cvat_username": "monailabel",
    "datasets_dir": "/srv/datasets",
    "gpus": "all",
    "port": 8000,
    "studies": "datasets/images",
}
UUIDS = ["GPU-a", "GPU-b"]


def test_a_host_without_instances_has_one_where_it_always_was() -> None:
    (place,) = instances([], HOST).values()
    assert (place["container"], place["directory"]) == ("monailabel", "/etc/endolab/monailabel")
    assert place["images_dir"] == "/srv/datasets/images"
    assert place["bundle_dir"] == "/srv/apps/endoscopy/model/tools"
    assert place["conf"] == {"epistemic_top_k": 5}
    assert (place["project"], place["task_prefix"]) == ("MONAILabel", "ActiveLearning_Iteration")
    assert place["prefix"] + "gpus" == "monailabel_gpus"
    assert place["endolabs"]


def test_an_instance_has_its_own_and_else_what_the_host_says() -> None:
    own = [
        {"name": "tools", "port": 8000},
        {
            "name": "polyps",
            "port": 8001,
            "gpus": [1],
            "datasets_dir": "/data/polyps",
            "app_source": "upstream",
            "conf": {"cvat_project": "Colon", "epistemic_top_k": 3},
            "cvat_username": "polyps",
            "cvat_password": "word",
        },
    ]
    tools, polyps = instances(own, HOST).values()
    assert (tools["container"], tools["secrets"]) == ("monailabel-tools", "/etc/endolab/monailabel/tools/secrets")
    assert (tools["images_dir"], tools["app_dir"]) == ("/srv/datasets/tools/images", "/srv/apps/tools/endoscopy")
    assert tools["conf"] == {"epistemic_top_k": 5, "cvat_project": "tools"}
    assert (tools["gpus"], tools["cvat_username"]) == ("all", "monailabel")
    assert (polyps["port"], polyps["images_dir"]) == (8001, "/data/polyps/images")
    assert polyps["script"] == "/data/polyps/run_monailabelinits.sh"
    assert polyps["conf"] == {"epistemic_top_k": 3, "cvat_project": "Colon"}
    assert not polyps["endolabs"]
    assert "word" not in str(polyps)


def test_studies_that_are_all_of_the_datasets() -> None:
    (place,) = instances([], {**HOST, "studies": "datasets"}).values()
    assert place["images_dir"] == "/srv/datasets"


def test_the_only_loop_of_a_lab_is_found_where_it_always_was() -> None:
    (route,) = routes(["gpu1"], {"gpu1": {}}, 8000)
    assert route == {
        "host": "gpu1",
        "name": "",
        "port": 8000,
        "path": "/monailabel",
        "project": "MONAILabel",
        "task_prefix": "ActiveLearning_Iteration",
    }
    (route,) = routes(["gpu1"], {"gpu1": {"monailabel_port": "9000"}}, 8000)
    assert route["port"] == 9000


def test_of_several_loops_each_is_found_by_its_name() -> None:
    lab = {
        "gpu1": {"monailabel_instances": [{"name": "tools", "port": 8000}, {"name": "polyps", "port": 8001}]},
        "gpu2": {"monailabel_conf": '{"cvat_project": "Colon"}', "monailabel_instances": []},
    }
    found = routes(list(lab), lab, 8000)
    assert [each["path"] for each in found] == ["/monailabel/tools", "/monailabel/polyps", "/monailabel/gpu2"]
    assert [each["project"] for each in found] == ["tools", "polyps", "Colon"]
    alone = {"gpu1": {"monailabel_instances": [{"name": "tools", "port": 8000}]}}
    assert routes(["gpu1"], alone, 8000)[0]["path"] == "/monailabel/tools"


@pytest.mark.parametrize(
    ("wanted", "rivals"),
    [
        (["all", "none"], []),
        (["all", [0]], ["one and two"]),
        (["all", "all"], ["one and two"]),
        ([[0], [1]], []),
        ([[0], ["0"]], ["one and two"]),
        ([[0], ["GPU-a"]], ["one and two"]),
        ([["GPU-b"], [0]], []),
        ([["GPU-b", 0], ["1"]], ["one and two"]),
        ([["MIG-1"], ["MIG-2"]], []),
        ([["0:0"], ["0:0"]], ["one and two"]),
        ([[7], [7]], ["one and two"]),
        ([1, [1]], []),
    ],
)
def test_who_wants_the_same_gpu(wanted: list[Any], rivals: list[str]) -> None:
    places = [{"container": name, "gpus": gpus} for name, gpus in zip(("one", "two"), wanted, strict=True)]
    assert gpu_rivals(places, UUIDS) == rivals


def test_entries_that_are_none_are_left_to_their_own_host() -> None:
    lab: dict[str, Any] = {
        "gpu1": {"monailabel_instances": [{"name": "tools", "port": 8000, "conf": None}]},
        "gpu2": {"monailabel_instances": [{"port": 8001}, {"name": "polyps", "port": "high"}, "tools"]},
        "gpu3": {"monailabel_instances": None, "monailabel_conf": '{"cvat_project": '},
        "gpu4": {"monailabel_instances": [{"name": "scopes", "port": 8000, "conf": ["cvat_project"]}]},
    }
    assert [each["path"] for each in routes(list(lab), lab, 8000)] == [
        "/monailabel/tools",
        "/monailabel/gpu2",
        "/monailabel/gpu3",
        "/monailabel/scopes",
    ]


def test_a_key_without_a_value_says_nothing() -> None:
    own = [{"name": "tools", "port": 8000, "conf": None, "app": None}]
    assert instances(own, HOST)["tools"]["app_dir"] == "/srv/apps/tools/endoscopy"


def test_doubles_are_named_once() -> None:
    assert doubles(["a", "b", "a", "c", "c", "a"]) == ["a", "c"]
