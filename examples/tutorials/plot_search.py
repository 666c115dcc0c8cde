"""
Grid search: compare GridSearchCV and VectorizedGridSearchCV
============================================================

A grid of 48 learning rates and penalties in five folds makes 240 fits. ``GridSearchCV`` trains them
one after another, ``VectorizedGridSearchCV`` as a batch of models. The scores are the same.
"""

# %%
# The task: 3 against 8, as images of 8 x 8 pixels.
import time

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
# The grid names parameters of steps of the pipeline, as for any search.
network = TorchMLPClassifier((32,), max_iter=40, n_iter_no_change=40, random_state=0)
model = Pipeline([("scale", StandardScaler()), ("network", network)])
rates = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
penalties = [0.001, 0.01, 0.1, 1, 10, 100]
grid = {"network__learning_rate_init": rates, "network__alpha": penalties}
settings = {"scoring": "neg_log_loss", "cv": 5}

# %%
# The only difference is the class of the search.
seconds = {}
searches = {}
for search_class in (GridSearchCV, VectorizedGridSearchCV):
    start = time.perf_counter()
    search = search_class(model, grid, **settings).fit(X, y)
    seconds[search_class.__name__] = time.perf_counter() - start
    searches[search_class.__name__] = search.cv_results_["mean_test_score"]
largest = np.abs(np.subtract(*searches.values())).max()

print(
    f"{len(X)} rows, {len(rates) * len(penalties)} candidates, 240 fits and the last one"
)
for name, taken in seconds.items():
    print(f"{name:<24} {taken:6.2f} s")
print(f"largest difference between their scores: {largest:.1e}")
print(
    f"batched: {np.sum(search.cv_results_['fit_mode'] == 'batched')} of 48 candidates"
)
print(
    "best parameters: "
    + ", ".join(f"{k}={v:.3g}" for k, v in search.best_params_.items())
)

# %%
# The mean test score, which is minus the log loss, over both parameters.
SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"])

# %%
# The time of both searches.
figure, ax = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
ax.barh(list(seconds), list(seconds.values()), color=["#7F7F7F", "#0072B2"], height=0.5)
for row, taken in enumerate(seconds.values()):
    ax.text(taken, row, f" {taken:.1f} s", va="center")
ax.set(xlabel="seconds", xlim=(0, 1.2 * max(seconds.values())))
ax.invert_yaxis()
ax.set_yticks(
    range(2), labels=[name.replace("SearchCV", "\nSearchCV") for name in seconds]
)
ax.set_title("Time of the search", loc="left")
ax.spines[["top", "right"]].set_visible(False)

plt.show()
