"""
Tutorial: preprocessing of your own, and rare positives
=======================================================

From a data frame to a model that is ready for use: preprocess numeric and categorical features with
scikit-learn's transformers, train an ensemble, tune its threshold to the costs of mistakes, and
check its precision, recall and calibration on test data. ``make_tabular_pipeline`` preprocesses
such tables by itself; write the steps as here if you want to choose them.
"""

# %%
# The data
# --------
# 12,000 loans, of which 6% end in default. Incomes are missing for one in six customers, and more
# often for those who default. A table of your own would come from ``pandas.read_csv``; this one is
# generated, so that the script runs anywhere.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    PrecisionRecallDisplay,
    average_precision_score,
    classification_report,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbinary import PiecewiseLinearEncoder, ThresholdDisplay, TorchMLPClassifier


def make_loans(n, random_state):
    """Generate loans: their features, and whether they were paid."""
    rng = np.random.default_rng(random_state)
    age = rng.integers(19, 78, n).astype(float)
    income = rng.lognormal(7.8, 0.6, n)
    amount = rng.lognormal(9.0, 0.8, n)
    late_payments = rng.poisson(0.6, n).astype(float)
    purpose = rng.choice(
        ["car", "home", "business", "other"], n, p=[0.4, 0.3, 0.1, 0.2]
    )
    region = rng.choice([f"region {k}" for k in range(12)], n)
    burden = np.log(amount / income)
    risk = (
        -4.6 + 1.1 * np.clip(burden, 0, 3) ** 1.5 + 0.9 * np.minimum(late_payments, 3)
    )
    risk += (
        0.9 * (purpose == "business") - 1.2 * (late_payments == 0) + 0.8 * (age < 25)
    )
    defaults = rng.random(n) < 1 / (1 + np.exp(1.6 - risk))
    income[rng.random(n) < np.where(defaults, 0.35, 0.15)] = np.nan
    late_payments[rng.random(n) < 0.05] = np.nan
    frame = pd.DataFrame(
        {
            "age": age,
            "income": income.round(),
            "amount": amount.round(),
            "late_payments": late_payments,
            "purpose": purpose,
            "region": region,
        }
    )
    frame.loc[rng.random(n) < 0.03, "purpose"] = None
    return frame, np.where(defaults, "default", "paid")


X, y = make_loans(12_000, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(X_train.head())
print(f"\n{(y == 'default').mean():.1%} defaults, missing values:")
print(X.isna().sum().to_string())

# %%
# Preprocessing and model
# -----------------------
# Numeric features: the median replaces missing values, indicator features tell where they were,
# and ``PiecewiseLinearEncoder`` scales and bins. Categories become one feature each; missing and
# rare ones are categories of their own.
numeric, categorical = (
    ["age", "income", "amount", "late_payments"],
    ["purpose", "region"],
)
categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)


def preprocess(scaler):
    impute = SimpleImputer(strategy="median", add_indicator=True)
    return make_column_transformer(
        (make_pipeline(impute, scaler), numeric),
        (categories, categorical),
    )


# %%
# The model is an ensemble of eight networks. A default that is not detected costs as much as 15
# good customers who are turned away: that is the objective for the threshold. "default" sorts
# before "paid", so ``pos_label`` names the class that the objective is about.
ensemble = TorchMLPClassifier(
    (64, 64),
    activation="tanh",
    n_members=8,
    weight_decay=0.1,
    dropout=0.1,
    learning_rate_init=0.004,
    threshold={"cost_fp": 1, "cost_fn": 15},
    pos_label="default",
    random_state=0,
)
model = make_pipeline(preprocess(PiecewiseLinearEncoder()), ensemble).fit(
    X_train, y_train
)
low, high = ensemble.threshold_interval_
print(f"threshold {ensemble.threshold_:.3f} (90% interval {low:.3f} to {high:.3f})")

# %%
# Compare models
# --------------
# Log loss, ROC AUC and average precision do not depend on the threshold, so they compare the
# models. Which one is best depends on the data: compare them on yours. The first column of
# ``predict_proba`` is the probability of "default".
is_default = y_test == "default"
models = {
    "ensemble": model,
    "logistic regression": make_pipeline(
        preprocess(StandardScaler()), LogisticRegression(max_iter=1000)
    ).fit(X_train, y_train),
    "gradient-boosted trees": make_pipeline(
        preprocess("passthrough"), HistGradientBoostingClassifier(random_state=0)
    ).fit(X_train, y_train),
}
print(f"{'':24}log loss  ROC AUC  average precision")
for name, each in models.items():
    probability = each.predict_proba(X_test)[:, 0]
    loss = log_loss(is_default, probability)
    auc = roc_auc_score(is_default, probability)
    precision = average_precision_score(is_default, probability)
    print(f"{name:24}{loss:8.3f}{auc:9.3f}{precision:19.3f}")
print(f"out-of-fold log loss of the ensemble: {ensemble.oof_loss_:.3f}")

# %%
# The report
# ----------
# ``predict`` uses the tuned threshold. The mean cost of a loan shows what that gains.
print(classification_report(y_test, model.predict(X_test), digits=2))
for threshold in (0.5, ensemble.threshold_):
    flagged = model.predict(X_test, threshold=threshold) == "default"
    cost = 1 * (flagged & ~is_default).mean() + 15 * (~flagged & is_default).mean()
    print(f"threshold {threshold:.3f}: mean cost {cost:.2f}")

# %%
# Precision and recall
# --------------------
# The precision-recall curves of the three models.
colors = ["#0072B2", "#D55E00", "#009E73"]
figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
ax.set_prop_cycle(color=colors)
for name, each in models.items():
    PrecisionRecallDisplay.from_estimator(
        each, X_test, y_test, pos_label="default", name=name, ax=ax
    )

# %%
# Precision and recall of the ensemble for every threshold.
ThresholdDisplay.from_estimator(
    model, X_test, y_test, metrics=["precision", "recall"], pos_label="default"
)

# %%
# Calibration
# -----------
# Of the loans with a predicted probability of 0.2, do 20% default? Each point stands for a tenth of
# the test data.
figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
ax.set_prop_cycle(color=colors)
for name, each in models.items():
    CalibrationDisplay.from_estimator(
        each,
        X_test,
        y_test,
        pos_label="default",
        n_bins=10,
        strategy="quantile",
        name=name,
        ax=ax,
    )
ax.set(xlim=(0, 0.5), ylim=(0, 0.5))
ax.set_title("Calibration", loc="left")

# %%
# Which features matter
# ---------------------
# The increase of the log loss when a column of the test data is shuffled.
result = permutation_importance(
    model, X_test, y_test, scoring="neg_log_loss", n_repeats=5, random_state=0
)
for column in result.importances_mean.argsort()[::-1]:
    mean, deviation = result.importances_mean[column], result.importances_std[column]
    print(f"{X.columns[column]:14} {mean:.3f} +- {deviation:.3f}")

plt.show()
