"""
Your own network
================

``TorchModuleClassifier`` trains a PyTorch module that you write: a convolutional network for images
and a residual network for a table. Ensembles, thresholds and searches are those of
``TorchMLPClassifier``, and train many copies of the module as one batch.
"""

# %%
# A convolutional network
# -----------------------
# A module takes rows in float32 and returns one logit for each. Here a row is an image of shape
# (1, 8, 8): one channel of 8 x 8 pixels.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_hastie_10_2
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import classification_report, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from torch import nn

from skbinary import (
    LossCurveDisplay,
    SearchDisplay,
    TorchMLPClassifier,
    TorchModuleClassifier,
    VectorizedGridSearchCV,
)


class Convolutional(nn.Module):
    """Two convolutions, and a linear layer on 2 x 2 positions."""

    def __init__(self, channels=8, dropout=0.2):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, kernel_size=3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * channels, 1),
        )

    def forward(self, X):
        return self.layers(X)


# %%
# The task: is a digit an 8? A tenth of them are.
digits = load_digits()
images = digits.images[:, None] / 16
is_eight = np.where(digits.target == 8, "8", "another digit")
X_train, X_test, y_train, y_test, _, digit_test = train_test_split(
    images,
    is_eight,
    digits.target,
    test_size=0.5,
    stratify=digits.target,
    random_state=0,
)
print(f"training images: {X_train.shape}, {(y_train == '8').mean():.0%} are an 8")

# %%
# Parameters of the module have the prefix ``module__``, and are searched like those of the
# classifier. Candidates whose modules have the same shapes are trained as one batch. For
# comparison, the same search of ``TorchMLPClassifier``, which sees the image as 64 features.
settings = {
    "learning_rate": "onecycle",
    "max_iter": 20,
    "n_iter_no_change": 20,
    "batch_size": 64,
    "random_state": 0,
}


def search_parameters(model, grid):
    """Search a grid for the lowest log loss in three folds."""
    search = VectorizedGridSearchCV(model, grid, scoring="neg_log_loss", cv=3)
    search.fit(X_train, y_train)
    batched = np.sum(search.cv_results_["fit_mode"] == "batched")
    print(f"batched: {batched} of {len(search.cv_results_['params'])} candidates")
    for name, value in search.best_params_.items():
        print(f"  {name}: {value}")
    return search


rates = [0.01, 0.03, 0.1]
convolutional_search = search_parameters(
    TorchModuleClassifier(Convolutional, early_stopping=False, **settings),
    {"module__channels": [4, 8], "learning_rate_init": rates},
)
layers_search = search_parameters(
    TorchMLPClassifier(early_stopping=False, **settings),
    {"hidden_layer_sizes": [(64,), (64, 32)], "learning_rate_init": rates},
)

# %%
# The best parameters again, for ensembles of eight networks. Each network is trained without its
# own fold, and keeps its best epoch there. The folds also serve to choose the threshold: the
# lowest one at which 95% of the images that are called an 8 are an 8.
convolutional = TorchModuleClassifier(
    Convolutional,
    n_members=8,
    threshold={"precision": 0.95},
    pos_label="8",
    **settings | convolutional_search.best_params_,
).fit(X_train, y_train)
layers = TorchMLPClassifier(n_members=8, **settings | layers_search.best_params_)
layers.fit(X_train, y_train)


def print_scores(models):
    """Print log loss and ROC AUC of models on test data."""
    print(f"{'':26}log loss  ROC AUC")
    for name, model in models.items():
        probability = model.predict_proba(X_test)
        loss = log_loss(y_test, probability)
        auc = roc_auc_score(y_test, probability[:, 1])
        print(f"{name:26}{loss:8.3f}{auc:9.3f}")


models = {"convolutional networks": convolutional, "fully connected networks": layers}
print_scores(models)

# %%
# ``predict`` uses the tuned threshold.
print(f"threshold {convolutional.threshold_:.2f}")
print(classification_report(y_test, convolutional.predict(X_test), digits=2))

# %%
# The losses of every epoch: thin lines for the networks, and thick ones for their mean. The
# convolutional networks reach a lower validation loss.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    LossCurveDisplay.from_estimator(model, ax=ax, show_score=False)
    ax.set(ylim=(0, 0.4))
    ax.set_title(name.capitalize(), loc="left")
axes[1].set_ylabel("")

# %%
# The test images whose probability of being an 8 is furthest from the truth: six eights above, and
# six other digits below.
probability = convolutional.predict_proba(X_test)[:, 0]
order = np.argsort(probability)
eights, others = order[y_test[order] == "8"], order[y_test[order] != "8"]
# sphinx_gallery_thumbnail_number = 2
gallery, frames = plt.subplots(2, 6, figsize=(9, 3.8), layout="constrained")
for ax, row in zip(frames.flat, [*eights[:6], *others[:-7:-1]], strict=True):
    ax.imshow(X_test[row, 0], cmap="gray_r")
    ax.set_title(f"{digit_test[row]}: {probability[row]:.0%}", fontsize=10)
    ax.set(xticks=[], yticks=[])
gallery.suptitle("Digit and its predicted probability of an 8", x=0.01, ha="left")

# %%
# A residual network on a table
# -----------------------------
# The output of each block is added to its input. ``n_features`` is passed to a module whose
# signature names it.


class Residual(nn.Module):
    """Blocks that are added to their input, between two linear layers."""

    def __init__(self, n_features, width=32, n_blocks=2):
        super().__init__()
        self.first = nn.Linear(n_features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, width),
            )
            for _ in range(n_blocks)
        )
        self.last = nn.Linear(width, 1)

    def forward(self, X):
        X = self.first(X)
        for block in self.blocks:
            X = X + block(X)
        return self.last(X)


# %%
# The table is generated: ten features from a normal distribution. A row is positive if the sum of
# their squares is above its median.
X, y = make_hastie_10_2(4_000, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)

# %%
# Searches of depth and learning rate.
settings |= {"max_iter": 30, "n_iter_no_change": 30, "batch_size": 200}
rates = [0.003, 0.01, 0.03]
residual_search = search_parameters(
    TorchModuleClassifier(Residual, **settings),
    {"module__n_blocks": [1, 2, 3], "learning_rate_init": rates},
)
layers_search = search_parameters(
    TorchMLPClassifier(**settings),
    {
        "hidden_layer_sizes": [(64, 64), (128, 64)],
        "learning_rate_init": rates,
    },
)

# %%
# One network and ensembles of eight, beside gradient-boosted trees.
residual = TorchModuleClassifier(
    Residual, n_members=8, **settings | residual_search.best_params_
).fit(X_train, y_train)
layers = TorchMLPClassifier(n_members=8, **settings | layers_search.best_params_)
print_scores(
    {
        "one residual network": residual_search,
        "residual networks": residual,
        "fully connected networks": layers.fit(X_train, y_train),
        "gradient-boosted trees": HistGradientBoostingClassifier(random_state=0).fit(
            X_train, y_train
        ),
    }
)

# %%
# The scores of the search: minus the log loss, over both parameters. One block is enough here.
SearchDisplay.from_estimator(
    residual_search, params=["learning_rate_init", "module__n_blocks"]
)

plt.show()
