"""What all displays have in common."""

import inspect
import re
import subprocess
import sys

import pytest

import skbinary
from skbinary import (
    LossCurveDisplay,
    SearchDisplay,
    ThresholdDisplay,
)

plt = pytest.importorskip("matplotlib.pyplot", reason="the displays need matplotlib")

# No warning is expected, neither when a display is drawn nor when it is rendered.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


DISPLAYS = [LossCurveDisplay, SearchDisplay, ThresholdDisplay]


def example_of(kind):
    return {
        LossCurveDisplay: lambda: kind(
            loss=[2.0, 1.0], validation_loss=[2.0, 1.0], validation_score=[0, 1], best_epoch=1
        ),
        ThresholdDisplay: lambda: kind(
            thresholds=[0, 1], metrics={"recall": [1, 0]}, threshold=0.5, interval=(0.4, 0.6)
        ),
        SearchDisplay: lambda: kind(params={"a": [1, 2]}, scores=[1, 2], best_index=1),
    }[kind]()


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_plot_draws_on_the_axes_and_returns_itself(kind):
    figure, ax = plt.subplots()
    display = example_of(kind)
    assert display.plot(ax) is display
    assert (display.ax_, display.figure_) == (ax, figure)
    assert display.plot().ax_ is not ax


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_documents_every_parameter_and_attribute(kind):
    display = example_of(kind)
    parameters = list(vars(display))
    display.plot()
    attributes = [name for name in vars(display) if name not in parameters]
    assert all(name.endswith("_") for name in attributes)
    for name in [*parameters, *attributes]:
        assert f"\n{name} : " in inspect.getdoc(kind)


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_plot_on_several_axes_is_an_error(kind):
    _, panels = plt.subplots(1, 2)
    message = (
        "ax must be one matplotlib Axes, got ndarray. Create one with plt.subplots(), or leave it "
        "out."
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        example_of(kind).plot(panels)


@pytest.mark.parametrize("kind", DISPLAYS)
def test_display_plot_without_matplotlib_is_an_error(kind, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    message = (
        f"matplotlib must be installed to draw a {kind.__name__}, got none. Run 'python -m pip "
        "install matplotlib', or use the attributes of the display."
    )
    with pytest.raises(ImportError, match=re.escape(message)):
        example_of(kind).plot()


def test_import_of_skbinary_does_not_import_matplotlib():
    code = "import sys, skbinary; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_displays_are_public():
    assert {kind.__name__ for kind in DISPLAYS} <= set(skbinary.__all__)
