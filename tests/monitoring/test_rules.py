"""Alerts and dashboard: Prometheus's own tool reads them, and they know the metrics that there are, and no others."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from endolab_loop import room
from endolab_loop.metrics import METRICS
from promtool import PROMTOOL

from tests.monitoring.lab import served
from tests.unit.app.worlds import World

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
CASES = yaml.safe_load((MONITORING / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))

NAME = re.compile(r"\bendolab_\w+")
ALERTS = [rule["alert"] for rule in RULES]


def promtool(*arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=MONITORING, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_reads_what_the_loop_says_and_finds_nothing_odd(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.turns()
    with served(world) as url:
        answer = requests.get(f"{url}/metrics", timeout=30)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert promtool("check", "metrics", text=answer.text) == ""


def test_prometheus_reads_the_rules_and_the_settings() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "--lint-fatal", "rules.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_several_loops_behind_one_edge_are_told_apart(tmp_path: Path) -> None:
    """As prometheus.yml's comment has them, and by the label by which alerts and dashboard name a loop."""
    single = "      - targets: [GPU1:443]\n"
    text = (MONITORING / "prometheus.yml").read_text(encoding="utf-8").replace(single, "", 1)
    text = re.sub(r"^      # (?=- targets|  labels)", "      ", text, flags=re.MULTILINE)
    (job,) = yaml.safe_load(text)["scrape_configs"]
    labels = [each["labels"] for each in job["static_configs"]]
    assert [each["__metrics_path__"] for each in labels] == ["/monailabel/tools/metrics", "/monailabel/polyps/metrics"]
    assert [each["instance"] for each in labels] == ["GPU1/tools", "GPU1/polyps"]
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))


def test_every_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    promtool("test", "rules", "rules_test.yml")
    tried = [case for each in CASES for case in each["alert_rule_test"]]
    assert {case["alertname"] for case in tried if case.get("exp_alerts")} == set(ALERTS)
    assert {case["alertname"] for case in tried if not case.get("exp_alerts")} == set(ALERTS)


@pytest.mark.parametrize(
    "break_it",
    [lambda rule: rule.update(expr=f"({rule['expr']}) and vector(0) > 1"), lambda rule: rule.update({"for": "3h"})],
    ids=["never", "late"],
)
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_does_not_fire_is_found(
    tmp_path: Path, alert: str, break_it: Callable[[dict[str, Any]], None]
) -> None:
    rules = json.loads(json.dumps(RULES))
    break_it(rules[ALERTS.index(alert)])
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "endolab", "rules": rules}]}))
    (tmp_path / "rules_test.yml").write_bytes((MONITORING / "rules_test.yml").read_bytes())
    done = subprocess.run([PROMTOOL, "test", "rules", tmp_path / "rules_test.yml"], capture_output=True, check=False)
    assert done.returncode == 1
    assert alert.encode() in done.stdout + done.stderr


def test_disks_are_told_of_where_the_loop_tells_of_them() -> None:
    limits = {rule["alert"]: rule["expr"].rpartition("< ")[2] for rule in RULES}
    assert limits["EndolabDiskTight"] == f"{room.TIGHT // room.GIB} * 2^30"
    assert limits["EndolabDiskFull"] == f"{room.FULL // room.GIB} * 2^30"


def test_rules_and_dashboard_name_every_metric_and_no_other() -> None:
    expressions = [rule["expr"] for rule in RULES]
    expressions += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    expressions += [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    named = {name for expression in expressions for name in NAME.findall(expression)}
    assert named == {metric.name for metric in METRICS}


def test_labels_that_are_asked_for_are_there() -> None:
    labels = {metric.name: {"instance", *metric.labels} for metric in METRICS}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            known = set.intersection(*(labels[name] for name in NAME.findall(target["expr"])))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known, panel["title"]
    for rule in RULES:
        known = set.intersection(*(labels[name] for name in NAME.findall(rule["expr"]) or ["endolab_gpus"]))
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= known, rule["alert"]


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_prometheus_understands_each_panel(tmp_path: Path, panel: dict[str, Any]) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": target["expr"].replace("$instance", ".*")}
        for number, target in enumerate(panel["targets"])
    ]
    (tmp_path / "panel.yml").write_text(yaml.safe_dump({"groups": [{"name": "panel", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "panel.yml"))


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
