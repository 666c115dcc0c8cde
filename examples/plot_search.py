"""
A search that trains its candidates together
============================================

How fast may a network learn, and how strong should its penalty be? A grid of 48 answers in five
folds is 240 fits. One search fits them one by one, the other as stacks of models side by side.
Both give the same scores.
"""

# %%
# Eights and threes, on 8 x 8 pixels: small enough that a fit is mostly waiting between products.
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import SearchDisplay, TorchMLPClassifier, VectorizedGridSearchCV

X, y = load_digits(return_X_y=True)
X, y = X[(y == 3) | (y == 8)], y[(y == 3) | (y == 8)]

# %%
# The grid is written as for any search: the names say which step of the pipeline they are for.
network = TorchMLPClassifier((32,), max_iter=40, n_iter_no_change=40, random_state=0)
model = Pipeline([("scale", StandardScaler()), ("network", network)])
rates = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
penalties = [0.001, 0.01, 0.1, 1, 10, 100]
grid = {"network__learning_rate_init": rates, "network__alpha": penalties}
settings = {"scoring": "neg_log_loss", "cv": 5}

# %%
# The only difference is the name of the search.
seconds = {}
searches = {}
for search_class in (GridSearchCV, VectorizedGridSearchCV):
    start = time.perf_counter()
    search = search_class(model, grid, **settings).fit(X, y)
    seconds[search_class.__name__] = time.perf_counter() - start
    searches[search_class.__name__] = search.cv_results_["mean_test_score"]
largest = np.abs(np.subtract(*searches.values())).max()

print(f"{len(X)} rows, {len(rates) * len(penalties)} candidates, 240 fits and the last one")
for name, taken in seconds.items():
    print(f"{name:<24} {taken:6.2f} s")
print(f"largest difference between their scores: {largest:.1e}")
print(f"stacked: {np.sum(search.cv_results_['fit_mode'] == 'stacked')} candidates of 48")
print("the best: " + ", ".join(f"{k}={v:.3g}" for k, v in search.best_params_.items()))

# %%
# The score on the validation rows over both parameters, which is minus the loss, and the time that
# both searches took.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), width_ratios=[1.6, 1], layout="constrained"
)
right.barh(list(seconds), list(seconds.values()), color=["#7F7F7F", "#0072B2"], height=0.5)
for row, taken in enumerate(seconds.values()):
    right.text(taken, row, f" {taken:.1f} s", va="center")
right.set(xlabel="seconds of the whole search", xlim=(0, 1.2 * max(seconds.values())))
right.invert_yaxis()
right.set_yticks(range(2), labels=[name.replace("SearchCV", "\nSearchCV") for name in seconds])
right.set_title("The same 240 fits", loc="left")
right.spines[["top", "right"]].set_visible(False)

SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"], ax=left)
left.set_title("The scores of all candidates", loc="left")

# %%
# The picture goes into ``output/`` beside this script, or the folder named on the command line.
output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "output"
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "plot_search.png", dpi=120)
if plt.get_backend().lower() != "agg":
    plt.show()
