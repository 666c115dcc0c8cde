"""How the site is built: ``sphinx-build -W -n --keep-going docs docs/_build``.

Nothing here needs a network or a GPU. The inventories of other projects lie in ``_inventories``.
"""

import os
import re
from pathlib import Path

import skbinary

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the examples' tables are small
os.environ["MPLBACKEND"] = "agg"  # no window waits for anybody

project = "skbinary"
author = "The skbinary developers"
project_copyright = author
version = release = skbinary.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
root_doc = "index"
highlight_language = "none"  # of blocks that name none
# The gallery's settings hold functions, with which they cannot be kept from build to build.
suppress_warnings = ["config.cache"]

# -- Markdown -------------------------------------------------------------------------------------
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# -- the reference --------------------------------------------------------------------------------
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more than the types do
autodoc_member_order = "groupwise"
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the template lists them
numpydoc_class_members_toctree = False

# -- other projects -------------------------------------------------------------------------------
# Kept in the repository, so that the build needs no network. They come from Debian's packages of
# the projects' documentation, and are older than the projects are: what they lack is named below.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "_inventories/python.inv"),
    "sklearn": ("https://scikit-learn.org/stable/", "_inventories/sklearn.inv"),
}
nitpick_ignore_regex = [
    # Newer than the inventory.
    ("py:obj", r"sklearn\.model_selection\.ValidationCurveDisplay"),
    ("py:obj", r"sklearn\.preprocessing\.TargetEncoder"),
    ("py:class", r"sklearn\.utils\.metadata_routing\.Metadata(Request|Router)"),
]


# -- the gallery ----------------------------------------------------------------------------------
class _FirstStepsFirst:
    """Order the first steps, and put the tutorials on mixed tables before the other tutorials."""

    steps = (
        *("quickstart.py", "start_threshold.py", "start_loss.py", "start_search.py"),
        *("start_save.py", "plot_credit_table.py", "plot_mixed_table.py"),
    )

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        known = filename in self.steps
        return (self.steps.index(filename) if known else len(self.steps), filename)


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",  # every example is run
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": _FirstStepsFirst,
    "doc_module": ("skbinary",),
    "backreferences_dir": "gallery/uses",
    "capture_repr": (),
    "default_thumb_file": str(Path(__file__).parent / "_static" / "prompt.svg"),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,  # they would change the pages from build to build
    "copyfile_regex": r"$^",
}

# -- looks ----------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "skbinary"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": f"skbinary {version}"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "performance": [], "quality": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
_ALONE = (
    "index",
    "start",
    "by_hand",
    "reference",
    "performance",
    "quality",
    "contributing",
    "design",
)
html_sidebars = {page: [] for page in _ALONE}  # pages with no others beside them

# -- links ----------------------------------------------------------------------------------------
# Only links inside the site are checked: the build must pass without a network.
linkcheck_ignore = [r"https?://"]


def _link_to_routing(app, what, name, obj, options, lines):
    """Link to a chapter of scikit-learn's guide that is newer than the inventory."""
    page = "https://scikit-learn.org/stable/metadata_routing.html"
    reference = re.compile(r":ref:`([^<`]+) <metadata_routing>`")
    lines[:] = [reference.sub(rf"`\1 <{page}>`__", line) for line in lines]


def setup(app):
    """Change what docstrings that scikit-learn wrote refer to."""
    app.connect("autodoc-process-docstring", _link_to_routing, priority=0)
