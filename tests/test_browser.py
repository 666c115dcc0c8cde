"""What a browser shows: the pages of the site, and classifiers as notebooks show them."""

import os
import shutil
from itertools import product

import pytest
from sklearn.datasets import make_classification
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from tests.test_site import BUILT, is_built

# The theme of the site says in the log which of its looks it has chosen.
QUIET = ("log", "debug")
# scikit-learn's own script says so of every fitted pipeline that names the features of a step.
KNOWN = "Expected copy-paste icon is missing from the DOM structure"
READERS = list(product(("light", "dark"), (1280, 390)))

# Letters have their shapes, and what the scripts changed at the end of loading is laid out. Of a
# page that lies on the disk nothing else is to come; "networkidle" has waited for it in vain.
SETTLED = """
() => document.fonts.ready
  .then(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
  .then(() => true)
"""

# What sticks out of the page on the right, and cannot be scrolled to inside a box of its own.
CUT_OFF = """
() => {
  const scrolls = (element) => {
    for (let box = element; box && !box.matches('.bd-article-container'); box = box.parentElement) {
      if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return true;
    }
    return false;
  };
  const width = document.documentElement.clientWidth;
  const aside = '.bd-sidebar-primary, .bd-sidebar-secondary, dialog, .headerlink';
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .filter((element) => element.getClientRects().length && !element.closest(aside))
    .filter((element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element))
    .map((element) => `${element.className}: ${element.textContent.slice(0, 40)}`);
}
"""

# Texts of one table or picture that lie on each other.
OVERLAPS = """
() => {
  const boxes = [];
  for (const state of document.querySelectorAll('.skbinary-state')) {
    const texts = [...state.querySelectorAll('td, summary, svg text')]
      .filter((element) => element.getClientRects().length && element.textContent.trim())
      .map((element) => [element.textContent, element.getBoundingClientRect()]);
    texts.forEach(([one, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 1) boxes.push(`${one} / ${other}`);
    }));
  }
  return boxes;
}
"""

# How far each text of the fitted state stands out from what is behind it, as the Web Content
# Accessibility Guidelines (WCAG 2.2, "contrast ratio") define it.
CONTRASTS = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const read = (color) => {  // in whichever of CSS's notations
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (element) => {
    for (let box = element; box; box = box.parentElement) {
      const color = read(getComputedStyle(box).backgroundColor);
      if (color[3] === 255) return color;
    }
    return read('Canvas');
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  return [...document.querySelectorAll('.skbinary-state td, .skbinary-state svg text')]
    .filter((element) => element.getClientRects().length)
    .map((element) => {
      const style = getComputedStyle(element);
      const ink = light(read(element.matches('text') ? style.fill : style.color));
      const paper = light(behind(element));
      const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      return [element.textContent, ratio];
    });
}
"""


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[browser]'")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if as_root else []
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Open files, and see that the browser does not complain."""
    opened = []

    def _open(path, mode, width):
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=mode)
        troubles = []
        page.on("console", lambda message: troubles.append((message.type, message.text)))
        page.on("pageerror", lambda error: troubles.append(("error", str(error))))
        page.on("requestfailed", lambda request: troubles.append(("missing", request.url)))
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate(SETTLED)
        opened.append((page, troubles))
        return page

    yield _open
    for page, troubles in opened:
        assert [each for each in troubles if each[0] not in QUIET and each[1] != KNOWN] == []
        page.close()


# -- the site --------------------------------------------------------------------------------------

SHOWN = (
    *("index", "start", "by_hand", "gallery/tutorials/plot_displays", "performance", "quality"),
    *("reference/skbinary.SearchDisplay", "reference/skbinary.TorchMLPClassifier"),
)


@is_built
@pytest.mark.parametrize(("mode", "width"), READERS)
@pytest.mark.parametrize("name", SHOWN)
def test_built_page_is_whole(name, mode, width, open_page):
    page = open_page(BUILT / f"{name}.html", mode, width)
    assert page.evaluate("document.documentElement.dataset.theme") == mode
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []


# Code that is wider than its box on a page.
CLIPPED = """
() => [...document.querySelectorAll('.bd-article pre')]
  .filter((code) => code.scrollWidth > code.clientWidth + 1)
  .map((code) => code.textContent.slice(0, 80))
"""


@is_built
@pytest.mark.parametrize("name", ["start", "guide/thresholds", "gallery/tutorials/plot_displays"])
def test_built_page_shows_code_without_scrolling(name, open_page):
    assert open_page(BUILT / f"{name}.html", "light", 1280).evaluate(CLIPPED) == []


# -- notebooks -------------------------------------------------------------------------------------

X, Y = make_classification(300, n_features=5, random_state=0)


def shown_in_notebooks():
    network = TorchMLPClassifier(
        (4,), max_iter=8, n_iter_no_change=8, early_stopping=True, random_state=0
    )
    grid = {"torchmlpclassifier__alpha": [0.001, 0.1]}
    pipeline = make_pipeline(StandardScaler(), network)
    return {
        "unfitted": TorchLogisticClassifier(),
        "logistic": TorchLogisticClassifier(threshold={"recall": 0.9}).fit(X, Y),
        "network": network.fit(X, Y),
        "members": TorchMLPClassifier(
            (4,), max_iter=20, n_members=3, threshold={"cost_fp": 1, "cost_fn": 20}, random_state=0
        ).fit(X, Y),
        "pipeline": pipeline.fit(X, Y),
        "search": VectorizedGridSearchCV(pipeline, grid, cv=3).fit(X, Y),
    }


@pytest.fixture(scope="module")
def notebook_pages(tmp_path_factory):
    """Write a page for each of them, as wide as it is and in the colours of the reader's system."""
    folder = tmp_path_factory.mktemp("notebooks")
    pages = {}
    for name, model in shown_in_notebooks().items():
        pages[name] = folder / f"{name}.html"
        pages[name].write_text(
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A notebook</title>'
            '<meta name="viewport" content="width=device-width">'
            "<style>:root {color-scheme: light dark}</style></head>"
            f"<body>{model._repr_html_()}</body></html>",
            encoding="utf-8",
        )
    return pages


@pytest.mark.parametrize(("mode", "width"), READERS)
@pytest.mark.parametrize(
    ("name", "n_states"),
    [
        *(("unfitted", 0), ("logistic", 1), ("network", 1)),
        *(("members", 1), ("pipeline", 1), ("search", 1)),
    ],
)
def test_html_representation_is_whole(name, n_states, mode, width, notebook_pages, open_page):
    page = open_page(notebook_pages[name], mode, width)
    # All that can be unfolded, as readers do it.
    page.evaluate(
        "document.querySelectorAll('input.sk-toggleable__control:not(:checked)')"
        ".forEach((box) => box.click())"
    )
    page.evaluate("document.querySelectorAll('details').forEach((each) => {each.open = true})")
    states = page.locator(".skbinary-state")
    assert sum(states.nth(k).is_visible() for k in range(states.count())) == n_states
    assert page.evaluate(OVERLAPS) == []
    contrasts = page.evaluate(CONTRASTS)
    assert bool(contrasts) == bool(n_states)
    assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []
    for k in range(n_states):
        box = states.nth(k).bounding_box()
        drawn = states.nth(k).locator("svg[role=img]").bounding_box()
        assert box["x"] <= drawn["x"]
        assert drawn["x"] + drawn["width"] <= box["x"] + box["width"] + 1
