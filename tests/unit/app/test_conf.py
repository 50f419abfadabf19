"""A --conf key that nobody reads, or a value that means nothing, stops the start with a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from endolab_loop.conf import Conf, ConfError, keys_read_below, read

SPECS = Path(__file__).resolve().parents[3] / "roles" / "monailabel" / "meta" / "argument_specs.yml"
UPSTREAM = {"models", "tooltracking", "epistemic_max_samples", "server_mode"}


def test_nothing_given_is_what_the_table_says() -> None:
    """The defaults of the app and those of the role's documentation are the same."""
    options = yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"]["monailabel_conf"]["options"]
    conf = read({}, UPSTREAM).model_dump()
    documented = {key: option["default"] for key, option in options.items() if key in conf and "default" in option}
    # The role turns scoring on; the app itself leaves it off, as the shipped one does.
    assert documented.pop("epistemic_enabled") is True
    assert documented == {key: conf[key] for key in documented}
    missing = set(conf) - set(options)
    assert not missing, f"monailabel_conf of {SPECS} lacks {missing}, which endolab_loop/conf.py has."


def test_values_are_texts() -> None:
    conf = read(
        {
            "epistemic_enabled": "true",
            "epistemic_top_k": "-1",
            "auto_finetune_models": "tooltracking, inbody",
            "cvat_labels": '[{"name": "Clip", "color": "#010203"}, {"name": "Tool"}]',
            "train_val_split": "0.3",
        },
        UPSTREAM,
    )
    assert conf.epistemic_enabled
    assert conf.epistemic_top_k == -1
    assert conf.auto_finetune_models == ["tooltracking", "inbody"]
    assert conf.label_map == {"Clip": 1, "Tool": 2}
    assert conf.train_val_split == 0.3


def test_labels_are_the_usual_ones_without_any() -> None:
    assert read({"cvat_labels": ""}, UPSTREAM).label_map == {"Tool": 1, "InBody": 2, "OutBody": 3}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epistemic_topk": "5"}, "--conf epistemic_topk is read by nobody; did you mean epistemic_top_k?"),
        ({"cvat_top_k": "5"}, "did you mean epistemic_top_k?"),
        ({"modles": "tooltracking"}, "did you mean models?"),
        ({"xyzzy": "1"}, "--conf xyzzy is read by nobody; there are auto_finetune_check_interval, "),
        ({"epistemic_top_k": "ten"}, "--conf epistemic_top_k is 'ten': input should be a valid integer"),
        ({"train_val_split": "1"}, "--conf train_val_split is '1': input should be less than 1"),
        ({"cvat_preannotate": "sometimes"}, "input should be 'auto', 'always' or 'never'"),
        ({"auto_finetune_check_interval": "0"}, "greater than or equal to 1"),
        ({"cvat_labels": "Tool"}, "--conf cvat_labels is 'Tool'"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfError) as caught:
        read(given, UPSTREAM)
    assert sentence in str(caught.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfError) as caught:
        read({"epistemic_topk": "5", "cvat_image_quality": "101"}, UPSTREAM)
    assert "epistemic_topk" in str(caught.value)
    assert "cvat_image_quality" in str(caught.value)


def test_the_keys_that_upstream_reads_are_found_in_its_source(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text('x = conf.get("models")\ny = self.conf.get(\n    "skip_scoring", "false")')
    assert keys_read_below([tmp_path]) == {"models", "skip_scoring"}


def test_every_key_of_the_role_is_a_key_of_the_app() -> None:
    options = yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"]["monailabel_conf"]["options"]
    own_keys = yaml.safe_load((SPECS.parents[1] / "vars/main.yml").read_text())["__monailabel_own_keys"]
    (pattern,) = re.findall(r"select\('match', '(.*)'\)", own_keys)
    own = {key for key in options if re.match(pattern, key)}
    assert own >= {"cvat_organization", "train_keep"}
    missing = own - set(Conf.model_fields)
    assert not missing, f"Conf of endolab_loop/conf.py lacks {missing}, which {SPECS} calls Endolab's own."
