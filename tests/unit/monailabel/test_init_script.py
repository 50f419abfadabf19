"""The init script, rendered by Ansible and run by a real bash, hands every value to the server unchanged."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
VARS = yaml.safe_load((ROOT / "roles" / "monailabel" / "vars" / "main.yml").read_text(encoding="utf-8"))
TEMPLATE = (ROOT / "templates" / "run_monailabelinits.sh.j2").read_text(encoding="utf-8")

# Stands in the PATH for python3 and tells what it was started with.
PYTHON = """#!/bin/bash
case $* in */wait_for_cvat.py) exit 0 ;; "-m certifi") echo "$PUBLIC_AUTHORITIES"; exit 0 ;; esac
exec "$REAL_PYTHON" -c 'import json, os, sys
print(json.dumps({
    "argv": [os.fsencode(a).hex() for a in sys.argv[1:]],
    "env": {k.decode(): v.hex() for k, v in os.environb.items()
            if k.startswith((b"MONAI_LABEL_", b"ENDOLAB_", b"SSL_", b"REQUESTS_"))},
}))' "$@"
"""

DEFAULTS: dict[str, Any] = {
    "ansible_managed": "Ansible managed",
    "monailabel_cvat_url": "http://127.0.0.1:8080",
    "monailabel_cvat_ca": "",
    "__monailabel_place": {"app": "apps/endoscopy", "studies": "datasets/images", "port": 8000},
    "__monailabel_app_is_endolabs": True,
    "__monailabel_conf": {"models": ["tooltracking"], "epistemic_enabled": True, "epistemic_top_k": 10},
}


def trusted(value: Any) -> Any:
    return {k: trusted(v) for k, v in value.items()} if isinstance(value, dict) else trust_as_template(value)


ENVIRONMENT = {
    name: trusted(VARS[name])
    for name in (
        "__monailabel_environment",
        "__monailabel_datastore",
        "__monailabel_authority",
        "__monailabel_credential_files",
    )
}


class Container:
    """The directory that the container mounts, and a python3 that tells what it was started with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "secrets").mkdir()
        (directory / "bin").mkdir()
        (directory / "bin" / "python3").write_text(PYTHON)
        (directory / "bin" / "python3").chmod(0o755)

    def render(self, **variables: Any) -> str:
        """The script, with `variables` over the defaults."""
        templar = Templar(
            loader=DataLoader(),
            variables={**DEFAULTS, **ENVIRONMENT, "__monailabel_mount": str(self.directory), **variables},
        )
        return str(templar.template(trust_as_template(TEMPLATE)))

    def run(
        self, username: str = "lab", password: str = "secret", **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs the script with these credentials in its secret files."""
        for name, text in (("username", username), ("password", password)):
            (self.directory / "secrets" / name).write_bytes(text.encode("utf-8"))
        (self.directory / "run.sh").write_text(self.render(**variables), encoding="utf-8")
        return subprocess.run(
            ["bash", str(self.directory / "run.sh")],
            env={
                "PATH": f"{self.directory / 'bin'}:/usr/bin:/bin",
                "REAL_PYTHON": os.path.realpath("/usr/bin/python3"),
                "PUBLIC_AUTHORITIES": str(self.directory / "public.pem"),
                "TMPDIR": str(self.directory),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, **arguments: Any) -> tuple[list[str], dict[str, str]]:
        """What the server gets: its arguments, and its environment for MONAI Label and Endolab's app."""
        done = self.run(**arguments)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        return (
            [bytes.fromhex(a).decode() for a in seen["argv"]],
            {k: bytes.fromhex(v).decode() for k, v in seen["env"].items()},
        )


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


# What a file, an environment and an argument can hold: everything but NUL and lone surrogates.
anything = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40
) | st.text(st.sampled_from(" '\"$!`\\\n\r\t#{}%&|;<>*?~äß字"), min_size=1, max_size=20)


def test_the_defaults_are_those_of_the_original_instructions(container: Container) -> None:
    arguments, environment = container.start()
    assert " ".join(arguments) == (
        "-m monailabel.main start_server --app apps/endoscopy --studies datasets/images --conf models tooltracking"
        " --conf epistemic_enabled true --conf epistemic_top_k 10 --host 127.0.0.1"
    )
    assert environment == {
        "MONAI_LABEL_DATASTORE": "cvat",
        "MONAI_LABEL_DATASTORE_URL": "http://127.0.0.1:8080",
        "ENDOLAB_CVAT_USERNAME_FILE": f"{container.directory}/secrets/username",
        "ENDOLAB_CVAT_PASSWORD_FILE": f"{container.directory}/secrets/password",
        "ENDOLAB_ANNOTATORS_FILE": f"{container.directory}/annotators.json",
    }


def test_the_shipped_app_gets_the_credentials_themselves(container: Container) -> None:
    _, environment = container.start(__monailabel_app_is_endolabs=False)
    assert environment == {
        "MONAI_LABEL_DATASTORE": "cvat",
        "MONAI_LABEL_DATASTORE_URL": "http://127.0.0.1:8080",
        "MONAI_LABEL_DATASTORE_USERNAME": "lab",
        "MONAI_LABEL_DATASTORE_PASSWORD": "secret",
    }


def test_endolabs_app_trusts_the_authority_of_somebody_elses_cvat(container: Container) -> None:
    _, environment = container.start(monailabel_cvat_ca="ca.pem")
    assert environment["SSL_CERT_FILE"] == f"{container.directory}/cvat_ca.pem"


def test_the_shipped_app_trusts_it_beside_the_public_ones(container: Container) -> None:
    (container.directory / "public.pem").write_text("public\n", encoding="utf-8")
    (container.directory / "cvat_ca.pem").write_text("own\n", encoding="utf-8")
    _, environment = container.start(monailabel_cvat_ca="ca.pem", __monailabel_app_is_endolabs=False)
    assert Path(environment["REQUESTS_CA_BUNDLE"]).read_text(encoding="utf-8") == "public\nown\n"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(username=anything, password=anything, prefix=anything)
def test_any_credential_and_any_conf_value_survives(
    container: Container, username: str, password: str, prefix: str
) -> None:
    arguments, environment = container.start(
        username=username,
        password=password,
        __monailabel_app_is_endolabs=False,
        __monailabel_conf={"cvat_task_prefix": prefix},
    )
    assert environment["MONAI_LABEL_DATASTORE_USERNAME"] == username
    assert environment["MONAI_LABEL_DATASTORE_PASSWORD"] == password
    assert arguments[arguments.index("cvat_task_prefix") + 1] == prefix


def test_the_script_holds_no_credential(container: Container) -> None:
    script = container.render(monailabel_cvat_username="canary-user", monailabel_cvat_password="canary-password")
    assert "canary" not in script


@pytest.mark.parametrize("name", ["username", "password"])
def test_a_missing_secret_is_named(container: Container, name: str) -> None:
    container.run(__monailabel_app_is_endolabs=False)
    (container.directory / "secrets" / name).unlink()
    done = subprocess.run(["bash", str(container.directory / "run.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{container.directory}/secrets/{name} is missing or empty; run site.yml again." in done.stderr


def test_another_port_is_an_argument(container: Container) -> None:
    arguments, _ = container.start(__monailabel_place={**DEFAULTS["__monailabel_place"], "port": 8010})
    assert arguments[-4:] == ["--port", "8010", "--host", "127.0.0.1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (0, "0"),
        (["tooltracking", "inbody"], "tooltracking,inbody"),
        ([{"name": "Tool", "color": "#66ff66"}], '[{"name": "Tool", "color": "#66ff66"}]'),
        ("it's $HOME!", "it's $HOME!"),
    ],
)
def test_yaml_values_reach_the_app_as_it_reads_them(container: Container, value: Any, text: str) -> None:
    arguments, _ = container.start(__monailabel_conf={"key": value})
    assert arguments[arguments.index("key") + 1] == text
