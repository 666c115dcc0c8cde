"""The site: its code runs, its reference is complete, and what was built can be read anywhere."""

import contextlib
import doctest
import enum
import inspect
import io
import re
import runpy
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from numpydoc.validate import validate

import skbinary

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = DOCS / "_build"

# A block that is run, or an example that is shown, and what it prints.
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"
    r"|^```\{literalinclude\} \.\./examples/(?P<script>\w+)\.py\n.*?^```\n",
    flags=re.DOTALL | re.MULTILINE,
)
PRINTED = re.compile(r"\s*^```text\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
# Libraries that a page uses and the tests do not need.
OPTIONAL = {
    "attributions": ("shap", "captum"),
    "checkpoints": ("safetensors",),
    "clusters": ("dask", "distributed"),
    "imbalanced": ("imblearn",),
    "mlflow": ("mlflow", "skops"),
    "onnx": ("skl2onnx", "onnxruntime"),
    "optuna": ("optuna", "sklearn.callback"),
    "out_of_core": ("pyarrow", "polars"),
    "safe_files": ("skops", "safetensors"),
}
# Examples that have nothing to draw.
WITHOUT_PICTURES = ("start_save", "torchrun_fit")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?")


def blocks_of(page):
    """Give the blocks of a page, and what each of them prints."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        printed = PRINTED.match(text, block.end())
        yield block, printed[1] if printed else ""


def pages_with_code():
    names = ("../README", "index", "start", "by_hand")
    pages = [DOCS / f"{name}.md" for name in names]
    pages += [*sorted((DOCS / "guide").glob("*.md")), *sorted((DOCS / "project").glob("*.md"))]
    return [page for page in pages if any(True for _ in blocks_of(page))]


@pytest.fixture
def _as_a_reader(tmp_path, monkeypatch):
    """Run in an empty folder, on one thread, without a window."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    threads, random_state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.random.set_rng_state(random_state)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def assert_says_the_same(printed, expected):
    """Compare texts word for word, and numbers as far as another processor may move them."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", expected).split()
    found = [float(number) for number in NUMBER.findall(printed)]
    wanted = [float(number) for number in NUMBER.findall(expected)]
    assert found == pytest.approx(wanted, rel=0.1, abs=0.05)


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize("page", pages_with_code(), ids=lambda page: page.stem)
def test_page_code_prints_what_the_page_says(page):
    for library in ("matplotlib", *OPTIONAL.get(page.stem, ())):
        pytest.importorskip(library, reason=f"the page uses {library}")
    names = {"__name__": "__main__"}
    for block, expected in blocks_of(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            # plt.show() warns on machines with a display.
            warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
            # MLflow warns of its own types while it is imported.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")
            if block["code"]:
                exec(compile(block["code"], page.name, "exec"), names)
            else:
                script = ROOT / "examples" / f"{block['script']}.py"
                runpy.run_path(str(script), run_name="__main__")
        assert_says_the_same(printed.getvalue(), expected)


def test_start_page_shows_the_four_scripts():
    scripts = [block["script"] for block, _ in blocks_of(DOCS / "start.md")]
    assert [script for script in scripts if script] == [
        "start_threshold",
        "start_loss",
        "start_search",
        "start_save",
    ]


def test_page_on_ensembles_shows_the_settings_of_the_pipeline():
    text = (DOCS / "guide" / "ensembles.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"TorchMLPClassifier\(\n +\(256, 256\),\n.*?\n    \)", text, re.DOTALL)
    network = eval(shown, {"TorchMLPClassifier": skbinary.TorchMLPClassifier})
    assert network.get_params() == skbinary.make_tabular_pipeline()[-1].get_params()


def test_every_page_is_in_a_table_of_contents():
    sources = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    named = set()
    for page in sources:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            paths = [re.sub(r".*<(.*)>", r"\1", entry) for entry in entries]
            named |= {(page.parent / path).resolve() for path in paths}
    missing = {page for page in sources if page.with_suffix("") not in named}
    assert missing == {DOCS / "index.md"}


# -- the reference ---------------------------------------------------------------------------------


def public_members(name):
    """Give the names of the members that this package has written itself."""
    for member, value in inspect.getmembers(getattr(skbinary, name)):
        ours = str(getattr(value, "__module__", "")).startswith("skbinary")
        ours &= not isinstance(value, enum.Enum)  # described among the attributes of its class
        if not member.startswith("_") and (isinstance(value, property) or ours):
            yield member


def documented(name):
    yield f"skbinary.{name}"
    for member in public_members(name):
        yield f"skbinary.{name}.{member}"


def test_reference_names_every_public_object():
    text = (DOCS / "reference.rst").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^   (\w+)$", text, re.MULTILINE)) == sorted(skbinary.__all__)


CLASSES_AND_FUNCTIONS = [name for name in skbinary.__all__ if callable(getattr(skbinary, name))]


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_public_class_has_the_sections_that_numpydoc_asks_for(name, monkeypatch):
    # numpydoc reads the source, which is not in the module that public classes name.
    monkeypatch.setattr(skbinary.StopReason, "__module__", "skbinary.solvers.result")
    # A summary, parameters that agree with the signature, what is returned, and an example.
    asked = ("GL08", "SS03", "PR01", "PR02", "PR03", "PR07", "RT01", "RT03", "EX01")
    for each in documented(name):
        member = getattr(getattr(skbinary, name), each.rpartition(".")[2], None)
        if isinstance(member, property):
            continue  # described among the attributes of the class
        errors = {code: text for code, text in validate(each)["errors"] if code in asked}
        if isinstance(getattr(skbinary, name), enum.EnumType):
            errors.pop("PR01", None)  # its parameters are those of Python's own enum.Enum
        if each.endswith(".set_callbacks"):
            errors.pop("EX01", None)  # an example of it would need scikit-learn 1.9
        assert errors == {}, each


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_public_class_has_examples_that_the_suite_runs(name, pytestconfig):
    kind = getattr(skbinary, name)
    assert doctest.DocTestParser().get_examples(kind.__doc__)
    assert pytestconfig.getoption("doctestmodules")
    assert "skbinary" in pytestconfig.getini("testpaths")


# -- what was built --------------------------------------------------------------------------------

is_built = pytest.mark.skipif(
    not (BUILT / "index.html").exists(),
    reason="the site is not built: sphinx-build -W -n --keep-going docs docs/_build",
)


class Page(HTMLParser):
    """A built page: what it links to, and the places that others can link to."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.anchors, self.classes = path, [], set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.anchors |= {named[key] for key in ("id", "name") if named.get(key)}
        self.classes |= set((named.get("class") or "").split())
        self.links += [named[key] for key in ("href", "src") if named.get(key)]


@pytest.fixture(scope="module")
def pages():
    paths = [path for path in BUILT.rglob("*.html") if "_static" not in path.parts]
    return {path: Page(path) for path in paths}


@is_built
def test_built_links_lead_somewhere(pages):
    broken = []
    for page in pages.values():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue  # of another site
            target = page.path
            if parts.path:
                target = (page.path.parent / unquote(parts.path)).resolve()
            lost = not target.is_file()
            if not lost and parts.fragment and target in pages:
                lost = unquote(parts.fragment) not in pages[target].anchors
            broken += [f"{page.path.relative_to(BUILT)}: {link}"] if lost else []
    assert broken == []


@is_built
def test_built_pages_hold_no_markup_that_was_not_understood(pages):
    wrong = {"problematic", "system-message"}
    assert [page.path for page in pages.values() if page.classes & wrong] == []


@is_built
@pytest.mark.parametrize("name", skbinary.__all__)
def test_built_reference_has_every_member(name, pages):
    page = pages[BUILT / "reference" / f"skbinary.{name}.html"]
    assert [each for each in documented(name) if each not in page.anchors] == []


@is_built
def test_built_gallery_shows_every_example(pages):
    examples = ROOT / "examples"
    for script in examples.rglob("*.py"):
        page = pages[BUILT / "gallery" / script.relative_to(examples).with_suffix(".html")]
        pictures = [link for link in page.links if f"sphx_glr_{script.stem}_0" in link]
        assert bool(pictures) == (script.stem not in WITHOUT_PICTURES)
