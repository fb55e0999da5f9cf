"""The dashboard and its provisioning hold together, so that Grafana shows it without a hand."""

import re

import yaml


def test_panel_ids_are_unique(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]

    assert len(ids) == len(set(ids))


def test_panels_fit_the_grid_and_do_not_overlap(dashboard):
    taken = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_every_panel_has_a_title_and_says_what_it_shows(dashboard):
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]


def test_every_data_source_is_the_variable_and_the_variable_is_the_provisioned_one(dashboard, root):
    sources = yaml.safe_load((root / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = sources["datasources"]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}

    def uids(value):
        if isinstance(value, dict):
            if isinstance(value.get("datasource"), dict):
                yield value["datasource"]["uid"]
            for inner in value.values():
                yield from uids(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from uids(inner)

    assert set(uids(dashboard)) == {"${datasource}", "-- Grafana --"}
    assert variables["datasource"]["current"]["value"] == source["uid"]
    assert source["type"] == variables["datasource"]["query"] == "prometheus"


def test_every_variable_in_a_query_is_defined(dashboard):
    text = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", []))
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval"}

    assert used <= {variable["name"] for variable in dashboard["templating"]["list"]}


def test_letters_of_targets_are_unique_within_a_panel(dashboard):
    for panel in dashboard["panels"]:
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(letters) == len(set(letters)), panel["title"]


def test_colours_and_styles_are_given_to_series_that_can_exist(dashboard):
    fixed = {"unknown", "low", "medium", "high", "critical", "medium budget", "high budget", "critical budget",
             "committed", "aborted", "doubt"}  # fmt: skip
    for panel in dashboard["panels"]:
        named = {one["matcher"]["options"] for one in panel.get("fieldConfig", {}).get("overrides", [])}
        legends = {target["legendFormat"] for target in panel.get("targets", [])}
        assert named <= legends | fixed, panel["title"]


def test_the_provisioned_folder_is_where_compose_puts_the_dashboard(compose, root):
    providers = yaml.safe_load((root / "deploy/grafana/provisioning/dashboards/tidegate.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])

    path = mounts["./deploy/grafana/dashboard.json"]
    assert path.rpartition("/")[0] == providers[0]["options"]["path"]
    assert compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == path
