"""
A nonlinear decision boundary
=============================

No straight line separates a circle from the ring around it; a network with one hidden layer of 100
units does. The plots show its loss and accuracy on training and validation data.
"""

# %%
# The first half of the data is for training, the second half for validation.
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter
from sklearn.datasets import make_circles
from sklearn.inspection import DecisionBoundaryDisplay
from skorch.callbacks import Callback

from skbinary import LossCurveDisplay, TorchMLPClassifier

X, y = make_circles(1000, noise=0.1, random_state=1)
X_train, X_val, y_train, y_val = X[:500], X[500:], y[:500], y[500:]


# %%
# The classifier records the loss and accuracy on the validation set. A skorch callback adds the
# accuracy on the training set at the end of each epoch.
class TrainingAccuracy(Callback):
    def on_train_begin(self, net, **kwargs):
        self.scores = []

    def on_epoch_end(self, net, **kwargs):
        self.scores.append(net.score(X_train, y_train))


training_accuracy = TrainingAccuracy()
model = TorchMLPClassifier(
    hidden_layer_sizes=(100,),
    alpha=0.0,
    early_stopping=False,  # train for all 300 epochs
    max_iter=300,
    n_iter_no_change=300,
    random_state=0,
    callbacks=[training_accuracy],
).fit(X_train, y_train, X_val=X_val, y_val=y_val)

print("after 300 epochs    loss   accuracy")
print(
    f"training set      {model.loss_curve_[-1]:.4f}     {training_accuracy.scores[-1]:.3f}"
)
print(
    f"validation set    {model.validation_loss_curve_[-1]:.4f}     {model.score(X_val, y_val):.3f}"
)

# %%
# Loss and accuracy on both sets.
BLUE, ORANGE = "#0072B2", "#D55E00"
training = {"c": BLUE, "lw": 2, "label": "training"}
validation = {"c": ORANGE, "lw": 2, "ls": "--", "label": "validation"}
epochs = np.arange(1, 301)

LossCurveDisplay.from_estimator(model, show_score=False)

figure, ax = plt.subplots(layout="constrained")
ax.plot(epochs, training_accuracy.scores, **training)
ax.plot(epochs, model.validation_scores_, **validation)
ax.set(xlabel="epoch", ylabel="accuracy")
ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
ax.set_title("Accuracy", loc="left")
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)

# %%
# The predicted probability of class 1, and the validation data. The line is where both classes have
# a probability of 0.5.
# sphinx_gallery_thumbnail_number = 3
boundary, axes = plt.subplots(figsize=(6, 5), layout="constrained")
shades = LinearSegmentedColormap.from_list("shades", ["#8FC1E3", "white", "#F5B98A"])
display = DecisionBoundaryDisplay.from_estimator(
    model,
    X,
    response_method="predict_proba",
    class_of_interest=1,
    grid_resolution=200,
    eps=0.2,
    ax=axes,
    cmap=shades,
    plot_method="pcolormesh",
    vmin=0,
    vmax=1,
)
axes.contour(display.xx0, display.xx1, display.response, levels=[0.5], colors="black")
for label, color, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
    rows = X_val[y_val == label]
    axes.scatter(
        *rows.T,
        s=24,
        c=color,
        marker=marker,
        lw=0.4,
        ec="white",
        label=f"class {label}",
    )
boundary.colorbar(
    display.surface_, label="probability of class 1", ticks=[0, 0.25, 0.5, 0.75, 1]
)
axes.set(xlabel="first feature", ylabel="second feature", aspect="equal")
axes.set_title("Validation data and decision boundary", loc="left")
axes.legend(loc="upper right")

plt.show()
