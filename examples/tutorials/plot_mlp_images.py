"""
Classify images
===============

``TorchMLPClassifier`` accepts images and flattens them. On images of random noise, a network
overfits and its validation loss stays at chance level, ln 2. On images of digits, the same network
learns within a few epochs.
"""

# %%
# 15,000 random images of 3 x 28 x 28 pixels with random labels: 12,000 for training and 3,000 for
# validation.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skbinary import LossCurveDisplay, TorchMLPClassifier

random = np.random.default_rng(0)
noise = random.random((15_000, 3, 28, 28), dtype=np.float32)
labels = random.integers(0, 2, 15_000)

noise_model = TorchMLPClassifier(
    hidden_layer_sizes=(64, 32),
    alpha=0.0,
    learning_rate_init=1e-4,
    batch_size=64,
    early_stopping=False,
    max_iter=3,
    n_iter_no_change=3,
    random_state=0,
).fit(noise[:12_000], labels[:12_000], X_val=noise[12_000:], y_val=labels[12_000:])

print(f"chance level              loss {np.log(2):.4f}")
print(f"noise, validation images  loss {noise_model.validation_loss_curve_[-1]:.4f}")

# %%
# Digits, 3 against 8, as images of 8 x 8 pixels. With ``X_val``, the weights of the epoch with the
# lowest validation loss are kept. The test images are used once, at the end.
digits = load_digits()
chosen = np.isin(digits.target, (3, 8))
images, names = digits.images[chosen] / 16, digits.target[chosen]
X_train, X_test, y_train, y_test = train_test_split(
    images, names, test_size=0.3, stratify=names, random_state=0
)
X_fit, X_val, y_fit, y_val = train_test_split(
    X_train, y_train, test_size=0.2, stratify=y_train, random_state=0
)
digit_model = TorchMLPClassifier(
    hidden_layer_sizes=(64, 32),
    alpha=0.0,
    batch_size=64,
    max_iter=40,
    n_iter_no_change=40,
    random_state=0,
).fit(X_fit, y_fit, X_val=X_val, y_val=y_val)

test_loss = log_loss(y_test, digit_model.predict_proba(X_test))
print(f"digits, test images       loss {test_loss:.4f}")
print(f"digits, test images       accuracy {digit_model.score(X_test, y_test):.3f}")

# %%
# The losses on one scale.
curves, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for axes, model, title in (
    (panels[0], noise_model, "Random noise"),
    (panels[1], digit_model, "Digits, 3 against 8"),
):
    axes.axhline(np.log(2), c="#555555", ls=":", lw=1.5, label="chance level, ln 2")
    axes.set_ylim(0, 0.8)
    LossCurveDisplay.from_estimator(model, ax=axes, show_score=False)
    axes.set_title(title, loc="left")

# %%
# The test images with the lowest predicted probability of the correct class.
correct = (y_test == digit_model.classes_[1]).astype(int)
confidence = digit_model.predict_proba(X_test)[np.arange(len(X_test)), correct]
# sphinx_gallery_thumbnail_number = 2
gallery, frames = plt.subplots(2, 6, figsize=(9, 3.8), layout="constrained")
for axes, row in zip(frames.flat, np.argsort(confidence), strict=False):
    axes.imshow(X_test[row], cmap="gray_r")
    axes.set_title(f"{y_test[row]}: {confidence[row]:.0%}", fontsize=10)
    axes.set(xticks=[], yticks=[])
gallery.suptitle("Correct class and its predicted probability", x=0.01, ha="left")

plt.show()
