"""
Tutorial: from a data frame to decisions
========================================

A credit table with missing values, categories, dates and booleans. ``make_tabular_pipeline`` fits
it without preparation, and tunes the threshold to the costs of wrong decisions. A report and plots
on test data show how good the probabilities and the decisions are.
"""

# %%
# The table
# ---------
# 4,000 loans of two years, of which 17% end in default. A table of your own would come from
# ``pandas.read_csv``; this one is generated, so that the script runs anywhere.
#
# - Defaults are frequent where the monthly payment is a large part of the income. Most of the
#   self-employed do not state their income.
# - ``card_since`` is missing for customers without a credit card. To have none, or a new one, is
#   usual at the age of 25, and a bad sign at 50.
# - Some of the 60 jobs are safer than others, and loans of December and January are less safe.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    PrecisionRecallDisplay,
    classification_report,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split

from skbinary import ThresholdDisplay, make_tabular_pipeline


def make_loans(n, random_state):
    """Generate loans: their features, and whether they were paid."""
    rng = np.random.default_rng(random_state)
    applied = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 730, n), "D")
    age = rng.integers(20, 75, n)
    income = rng.lognormal(7.9, 0.6, n)
    amount = rng.lognormal(8.5, 0.9, n)
    months = rng.choice([12, 24, 36, 48, 60], n)
    job = rng.integers(0, 60, n)
    purpose = rng.choice(["car", "furniture", "travel", "debts"], n)
    self_employed = rng.random(n) < 0.2
    owns_home = rng.random(n) < np.where(age > 35, 0.5, 0.15)
    has_card = rng.random(n) < 0.75
    card_age = rng.integers(30, 4000, n)

    burden = amount / months / income
    is_short = burden > np.where(self_employed, 0.06, 0.12)
    has_no_old_card = ~has_card | (card_age < 365)
    risk = -3.8 + 3.5 * is_short - 1.5 * owns_home + 1.2 * (purpose == "debts")
    risk += has_no_old_card * np.where(age > 35, 2.0, -2.0)
    risk += 0.6 * np.isin(applied.month, [12, 1]) + 0.7 * rng.normal(size=60)[job]
    defaults = rng.random(n) < 1 / (1 + np.exp(-risk))

    card_since = pd.Series(applied - pd.to_timedelta(card_age, "D"))
    frame = pd.DataFrame(
        {
            "applied": applied,
            "card_since": card_since.where(has_card),
            "age": age,
            "income": np.where(rng.random(n) < 0.7 * self_employed, np.nan, income),
            "amount": amount,
            "months": months,
            "job": np.array([f"job {k}" for k in range(60)])[job],
            "purpose": pd.Series(purpose).where(rng.random(n) > 0.05),
            "self_employed": self_employed,
            "owns_home": owns_home,
        }
    )
    frame = frame.round({"income": 0, "amount": 0})
    return frame, np.where(defaults, "default", "paid")


X, y = make_loans(4_000, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(X_train.head(3).T.to_string())
print(f"\n{(y == 'default').mean():.1%} defaults, missing values:")
print(X.isna().sum().loc[lambda count: count > 0].to_string())

# %%
# The model
# ---------
# The pipeline encodes each column by its type, and trains an ensemble of networks on the result. A
# default costs the bank five times as much as a good customer who is turned away: that is the
# objective for the threshold. ``pos_label`` names the class that it is about.
model = make_tabular_pipeline(
    threshold={"cost_fp": 1, "cost_fn": 5}, pos_label="default", random_state=0
).fit(X_train, y_train)
encoder, ensemble = model
for column, kind in encoder.column_kinds_.items():
    print(f"{column:14}{kind}")

# %%
# A logistic regression behind the same encoder, for comparison. Log loss and ROC AUC do not depend
# on the threshold. The ensemble is better here, since age and credit card matter in combination.
# Its out-of-fold scores give an estimate of the log loss without test data.
logistic = make_tabular_pipeline(
    LogisticRegression(max_iter=1_000), random_state=0
).fit(X_train, y_train)
models = {"ensemble": model, "logistic regression": logistic}
is_default = y_test == "default"
print(f"{'':22}log loss  ROC AUC")
for name, each in models.items():
    probability = each.predict_proba(X_test)[:, 0]  # of classes_[0], "default"
    loss = log_loss(is_default, probability)
    auc = roc_auc_score(is_default, probability)
    print(f"{name:22}{loss:8.3f}{auc:9.3f}")
print(f"out-of-fold log loss of the ensemble: {ensemble.oof_loss_:.3f}")

# %%
# The report
# ----------
# ``predict`` uses the tuned threshold. It finds most of the defaults, and more than half of the
# loans that it flags would have been paid: with these costs, that is worth it.
print(classification_report(y_test, model.predict(X_test), digits=2))

# %%
# Precision and recall
# --------------------
# Of both models, for every threshold. The cross marks the tuned threshold of the ensemble.
COLORS = ["#0072B2", "#D55E00"]
flagged = model.predict(X_test) == "default"
precision, recall = is_default[flagged].mean(), flagged[is_default].mean()
figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
ax.set_prop_cycle(color=COLORS)
for name, each in models.items():
    PrecisionRecallDisplay.from_estimator(
        each, X_test, y_test, pos_label="default", name=name, ax=ax
    )
ax.plot(recall, precision, "X", color="black", ms=9, label="ensemble, tuned threshold")
ax.legend()
ax.set_title("Precision and recall", loc="left")

# %%
# Calibration
# -----------
# Of the loans with a predicted probability of 0.2, do 20% default? Each point stands for an eighth
# of the test data. With 125 loans each, deviations of a few percentage points are chance.
figure, axes = plt.subplots(1, 2, figsize=(9, 4.8), sharey=True, layout="constrained")
for (name, each), color, ax in zip(models.items(), COLORS, axes, strict=True):
    CalibrationDisplay.from_estimator(
        each,
        X_test,
        y_test,
        pos_label="default",
        n_bins=8,
        strategy="quantile",
        name=name,
        ax=ax,
        color=color,
    )
    ax.set(xlim=(-0.02, 0.8), ylim=(-0.02, 0.8))
    ax.set_title(name.capitalize(), loc="left")
axes[1].set_ylabel("")

# %%
# Costs by threshold
# ------------------
# The mean cost of a loan for every threshold, on test data and on the out-of-fold scores that the
# threshold was tuned on. The tuned threshold lies in the shaded interval in 90% of bootstrap
# resamples. It costs far less than the usual threshold of 0.5.
curve = ensemble.threshold_curve_
probability = model.predict_proba(X_test)[:, 0]


def mean_cost(threshold):
    """Return the mean cost of a loan on test data."""
    flagged = probability >= threshold
    return (flagged & ~is_default).mean() + 5 * (~flagged & is_default).mean()


display = ThresholdDisplay(
    thresholds=curve["threshold"],
    metrics={
        "out-of-fold scores": -curve["score"],
        "test data": [mean_cost(threshold) for threshold in curve["threshold"]],
    },
    threshold=ensemble.threshold_,
    interval=ensemble.threshold_interval_,
    pos_label="default",
).plot()
display.ax_.plot(
    0.5, mean_cost(0.5), "X", color="black", ms=8, label="test data, threshold 0.5"
)
display.ax_.legend(frameon=False, loc="lower right")
display.ax_.set(ylabel="mean cost of a loan")
for threshold in (ensemble.threshold_, 0.5):
    print(f"threshold {threshold:.2f}: mean cost {mean_cost(threshold):.2f}")

plt.show()
