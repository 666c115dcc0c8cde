"""The files of the project agree with each other: addresses, versions, links."""

import re
import tomllib
from pathlib import Path

import pytest

import skbinary
from benchmarks import chart

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARIES = {"torch": "PyTorch", "scikit-learn": "scikit-learn", "skorch": "skorch"}
LIBRARIES |= {"numpy": "NumPy", "scipy": "SciPy", "joblib": "joblib"}


def lower_bounds():
    bounds = dict(each.split(">=") for each in PROJECT["dependencies"])
    return {"Python": PROJECT["requires-python"].removeprefix(">=")} | {
        LIBRARIES[name]: version for name, version in bounds.items()
    }


def test_addresses_have_one_home():
    home = PROJECT["urls"]["Homepage"]
    assert all(url.startswith(home) for url in PROJECT["urls"].values())
    assert f"repository-code: {home}\n" in CITATION


def test_version_is_the_same_everywhere():
    assert f"\nversion: {skbinary.__version__}\n" in CITATION
    assert f"version = {{{skbinary.__version__}}}" in README


def test_supported_versions_are_those_of_the_requirements():
    page = (ROOT / "docs" / "project" / "versions.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| (\S+) \| ([\d.]+) and newer \|$", page, re.M)) == lower_bounds()
    stated = dict(re.findall(r"(Python|PyTorch|scikit-learn) ([\d.]+)\+", README))
    assert stated == {name: lower_bounds()[name] for name in stated}


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_between_files_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://)([^)#]+)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_workflow_runs_what_contributors_run():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: .ci/run\n" in workflow


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_speed_ups_in_the_text_are_the_published_ones(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    described = re.search(r"!\[Bars:(.*?)\]\(\S*speedup\.png\)", text, re.DOTALL)[1]
    folds = [fold for _, fold in chart.headlines(chart.load(chart.PUBLISHED))]
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", described)]
    assert numbers == pytest.approx(folds, rel=0.03, abs=0.06)


def test_charts_are_drawn_from_the_published_results(tmp_path):
    pytest.importorskip("matplotlib", reason="it draws the charts")
    ratios = chart.load(chart.PUBLISHED)
    chart.draw_all(ratios, tmp_path / "all.png")
    chart.draw_headlines(ratios, tmp_path / "some.png")
    sizes = [(tmp_path / name).stat().st_size for name in ("all.png", "some.png")]
    assert all(20_000 < size < 200_000 for size in sizes)
