"""to_onnx and register: inputs, outputs, options, labels, metadata and errors."""

import json
import re
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

import skbinary
from skbinary import (
    PiecewiseLinearEncoder,
    TabularEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)
from skbinary.export.onnx import register, to_inputs, to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
REASON = "the extra 'interop' is not installed"
skl2onnx = pytest.importorskip("skl2onnx", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = (X[:, 0] + 0.5 * RNG.normal(size=300) > 0.3).astype(int)


def logistic(**parameters):
    return TorchLogisticClassifier(**parameters).fit(X, Y)


def session_of(graph):
    return onnxruntime.InferenceSession(graph.SerializeToString())


def run(model, rows, **settings):
    settings = {"options": {"zipmap": False}, **settings}
    return session_of(to_onnx(model, rows, **settings)).run(None, to_inputs(rows))


def assert_equal_scores(model, rows):
    label, probability = run(model, rows)
    np.testing.assert_allclose(probability, model.predict_proba(rows), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(label, model.predict(rows))


# -- labels and thresholds ------------------------------------------------------------------------


@pytest.mark.parametrize("pos_label", [None, 0])
@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["no", "yes"], object),
        ([-1, 1], np.int64),
        ([3.0, 7.0], np.int64),
        ([False, True], np.int64),
        (np.array([2, 5], dtype=np.uint8), np.int64),
    ],
)
def test_labels_are_strings_or_integers(labels, kind, pos_label):
    labels = np.array(labels)
    pos_label = None if pos_label is None else labels[pos_label]
    model = TorchLogisticClassifier(threshold=0.3, pos_label=pos_label).fit(X, labels[Y])
    label, _ = run(model, X)
    assert label.dtype == kind
    assert label.shape == (len(X),)
    np.testing.assert_array_equal(label, model.predict(X))


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.3, 0.5, 0.999, 1.0, "f1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_label_honors_every_threshold(threshold, dtype):
    model = logistic(threshold=threshold)
    rows = (X * 20).astype(dtype)  # also probabilities that round to 0 and 1
    np.testing.assert_array_equal(run(model, rows)[0], model.predict(rows))


def test_label_honors_a_threshold_that_was_set_after_fit():
    model = logistic().set_params(threshold=0.8)
    np.testing.assert_array_equal(run(model, X)[0], model.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_keep_their_relative_precision_in_the_tails(dtype):
    model, rows = logistic(), (X * 12).astype(dtype)
    wanted = model.predict_proba(rows)
    assert wanted.min() < 1e-9
    _, probability = run(model, rows)
    np.testing.assert_allclose(probability, wanted, rtol=2e-5 if dtype == np.float32 else 1e-12)


def test_extreme_rows_have_probabilities_of_0_and_1():
    model = logistic()
    _, probability = run(model, np.array([[1e30, 0, 0], [-1e30, 0, 0]]))
    np.testing.assert_array_equal(probability, [[0, 1], [1, 0]])


# -- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint16, np.bool_, np.float64])
def test_numbers_that_are_not_float32_are_scored_in_float64(dtype):
    rows = np.round(X * 10).astype(dtype)
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier()).fit(rows, Y)
    assert_equal_scores(model, rows)
    assert run(model, rows)[1].dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_float32_and_smaller_are_scored_in_float32(dtype):
    assert run(logistic(), X.astype(dtype))[1].dtype == np.float32


@pytest.mark.parametrize(
    "convert", [sp.csr_array, torch.as_tensor, lambda rows: rows.tolist(), np.asfortranarray]
)
def test_other_containers_make_the_graph_of_an_array(convert):
    graph = to_onnx(logistic(), convert(X), options={"zipmap": False})
    assert [each.name for each in graph.graph.input] == ["X"]
    np.testing.assert_array_equal(session_of(graph).run(None, {"X": X})[0], logistic().predict(X))


def test_images_are_flattened():
    images = RNG.normal(size=(200, 1, 3, 4)).astype(np.float32)
    model = TorchMLPClassifier((8,), max_iter=3, n_iter_no_change=3, random_state=0)
    model.fit(images, images[:, 0, 0, 0] > 0)
    label, probability = run(model, images)
    np.testing.assert_allclose(probability, model.predict_proba(images), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(label, model.predict(images))


def test_sparse_coefficients():
    model = TorchLogisticClassifier(l1_ratio=1.0, C=0.05).fit(X, Y).sparsify()
    assert_equal_scores(model, X)


@pytest.mark.parametrize("embedding", [None, "periodic"])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("n_rows", [0, 1, 7])
def test_number_of_rows_is_free(n_rows, n_members, embedding):
    model = TorchMLPClassifier(
        (4,),
        n_members=n_members,
        numeric_embedding=embedding,
        max_iter=3,
        n_iter_no_change=3,
        random_state=0,
    ).fit(X, Y)
    graph = to_onnx(model, X[:2], options={"zipmap": False})
    label, probability = session_of(graph).run(None, {"X": X[:n_rows]})
    assert label.shape == (n_rows,)
    assert probability.shape == (n_rows, 2)
    if n_rows:
        np.testing.assert_allclose(probability, model.predict_proba(X[:n_rows]), atol=1e-12)


def test_columns_of_a_data_frame_are_inputs_under_their_names():
    frame = pd.DataFrame(X, columns=["x", "income (k€)", "2nd"])
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier()).fit(frame, Y)
    graph = to_onnx(model, frame[:5], options={"zipmap": False})
    assert [each.name for each in graph.graph.input] == ["x", "income (k€)", "2nd"]
    onnx.checker.check_model(graph, full_check=True)
    assert_equal_scores(model, frame)


def test_numbers_of_several_types_are_scored_in_one():
    frame = pd.DataFrame({"a": X[:, 0].astype(np.float32), "b": Y * 7, "c": X[:, 2] > 0})
    assert_equal_scores(TorchLogisticClassifier().fit(frame, Y), frame)
    narrow = frame.astype({"b": np.float32})
    model = TorchLogisticClassifier().fit(narrow, Y)
    assert run(model, narrow)[1].dtype == model.predict_proba(narrow).dtype == np.float32


def test_feature_union_of_encoders():
    union = FeatureUnion([("a", StandardScaler()), ("b", PiecewiseLinearEncoder())])
    assert_equal_scores(make_pipeline(union, TorchLogisticClassifier()).fit(X, Y), X)


def test_steps_that_pass_rows_through_are_left_out():
    inner = Pipeline([("c", None), ("d", TorchLogisticClassifier())])
    model = Pipeline([("a", "passthrough"), ("b", StandardScaler()), ("inner", inner)])
    assert_equal_scores(model.fit(X, Y), X)
    assert [name for name, _ in model.steps] == ["a", "b", "inner"]


def test_calibrated_pipeline_on_a_data_frame():
    frame = pd.DataFrame({"x": X[:, 0], "city": RNG.choice(["Oslo", "Rome"], len(X))})
    pipeline = make_pipeline(TabularEncoder(dtype=np.float64), TorchLogisticClassifier())
    assert_equal_scores(CalibratedClassifierCV(pipeline, cv=3).fit(frame, Y), frame)


# -- outputs and options --------------------------------------------------------------------------


def outputs(model, **options):
    return [each.name for each in to_onnx(model, X, options=options).graph.output]


def test_outputs_have_the_names_of_skl2onnx():
    pipeline = make_pipeline(StandardScaler(), TorchLogisticClassifier()).fit(X, Y)
    for model in (logistic(), pipeline):
        assert outputs(model) == ["output_label", "output_probability"]
        assert outputs(model, zipmap=False) == ["label", "probabilities"]
        assert outputs(model, zipmap="columns") == ["output_label", "i0", "i1"]
        names = outputs(model, zipmap=False, output_class_labels=True)
        assert names == ["label", "probabilities", "class_labels"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zipmap_gives_a_dict_for_each_row(dtype):
    rows = X.astype(dtype)
    model = TorchLogisticClassifier().fit(rows, np.array(["no", "yes"])[Y])
    _, probability = run(model, rows, options=None)
    wanted = dict(zip(["no", "yes"], model.predict_proba(rows)[0].tolist(), strict=True))
    assert probability[0] == pytest.approx(wanted)


def test_raw_scores_are_the_logits_of_both_classes():
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [0.1, 1.0]}, ensemble_size=2)
    for model in (logistic(), search.fit(X, Y)):
        _, scores = run(model, X, options={"zipmap": False, "raw_scores": True})
        logit = model.decision_function(X)
        np.testing.assert_allclose(scores, np.column_stack([-logit, logit]), rtol=1e-12)


def test_nocl_gives_positions_instead_of_labels():
    model = TorchLogisticClassifier(threshold=0.3).fit(X, np.array(["no", "yes"])[Y])
    label, _ = run(model, X, options={"zipmap": False, "nocl": True})
    np.testing.assert_array_equal(label, model.predict(X) == "yes")


@pytest.mark.parametrize("key", [id, type])
def test_options_of_one_estimator(key):
    model = make_pipeline(StandardScaler(), TorchLogisticClassifier()).fit(X, Y)
    options = {key(model[-1]): {"zipmap": False}}
    assert outputs_of(model, options) == ["label", "probabilities"]
    assert options == {key(model[-1]): {"zipmap": False}}


def outputs_of(model, options):
    return [each.name for each in to_onnx(model, X, options=options).graph.output]


@pytest.mark.parametrize("opset", [15, 18, {"": 21, "ai.onnx.ml": 3}])
def test_target_opset_is_kept(opset):
    model = TorchMLPClassifier((4,), n_members=2, max_iter=3, activation="gelu", random_state=0)
    model.fit(X, Y)
    graph = to_onnx(model, X, options={"zipmap": False}, target_opset=opset)
    main = opset if isinstance(opset, int) else opset[""]
    assert {each.domain: each.version for each in graph.opset_import}[""] == main
    _, probability = session_of(graph).run(None, {"X": X})
    np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=1e-12)


def test_same_model_gives_the_same_file():
    model = logistic()
    assert to_onnx(model, X).SerializeToString() == to_onnx(model, X).SerializeToString()


# -- metadata -------------------------------------------------------------------------------------


def metadata(model, rows=X):
    properties = session_of(to_onnx(model, rows)).get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in properties.items()}


def test_metadata_has_versions_and_opset():
    found = metadata(logistic())
    assert found["versions"] == {
        "skbinary": skbinary.__version__,
        **{name: version(name) for name in ("scikit-learn", "skl2onnx", "onnx", "torch", "numpy")},
    }
    assert found["opset"]["ai.onnx"] == 18


def test_model_card_of_a_pipeline():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    network = TorchMLPClassifier(
        (4,), n_members=2, max_iter=5, threshold={"recall": 0.9}, pos_label="no", random_state=0
    )
    model = make_pipeline(StandardScaler(), network).fit(frame, np.array(["no", "yes"])[Y])
    last = model[-1]
    pairs = zip(last.loss_curve_, last.best_epoch_, strict=True)
    assert metadata(model, frame)["model_card"] == {
        "estimator": "Pipeline(StandardScaler, TorchMLPClassifier)",
        "classes": ["no", "yes"],
        "n_features": 3,
        "features": ["a", "b", "c"],
        "pos_label": "no",
        "threshold": last.threshold_,
        "threshold_objective": {"recall": 0.9},
        "training_log_loss": pytest.approx(np.mean([curve[i - 1] for curve, i in pairs])),
        "out_of_fold_log_loss": pytest.approx(last.oof_loss_),
    }


def test_model_card_names_a_function():
    def my_metric(y_true, y_pred):
        return float(np.mean(y_true == y_pred))

    card = metadata(logistic(threshold=my_metric))["model_card"]
    assert card["threshold_objective"] == "my_metric"


def test_model_card_of_a_classifier_of_scikit_learn_has_no_threshold():
    card = metadata(CalibratedClassifierCV(TorchLogisticClassifier(), cv=3).fit(X, Y))["model_card"]
    assert card == {"estimator": "CalibratedClassifierCV", "classes": [0, 1], "n_features": 3}


# -- register -------------------------------------------------------------------------------------


def test_register_lets_skl2onnx_convert_models_around_ours():
    register()
    register()
    pipeline = make_pipeline(StandardScaler(), TorchLogisticClassifier())
    for model in (logistic(), pipeline, CalibratedClassifierCV(pipeline, cv=3)):
        model.fit(X, Y)
        graph = skl2onnx.to_onnx(model, X, options={"zipmap": False})
        label, probability = session_of(graph).run(None, {"X": X})
        np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(label, model.predict(X))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibrated_frozen_pipeline(method):
    if method == "temperature" and parse_version(version("scikit-learn")) < parse_version("1.8"):
        pytest.skip("scikit-learn has it since version 1.8")
    pipeline = make_pipeline(StandardScaler(), TorchLogisticClassifier()).fit(X, Y)
    model = CalibratedClassifierCV(FrozenEstimator(pipeline), method=method, cv=3).fit(X, Y)
    assert_equal_scores(model, X)


def test_hard_voting_at_thresholds_of_one_half():
    model = VotingClassifier([("a", logistic()), ("b", logistic(C=0.01)), ("c", logistic(C=1e-3))])
    np.testing.assert_array_equal(run(model.fit(X, Y), X)[0], model.predict(X))


# -- errors ---------------------------------------------------------------------------------------


def assert_error(model, sentence, rows=X, **settings):
    with pytest.raises(ValueError, match=r"^[A-Zas]") as raised:
        to_onnx(model, rows, **settings)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    "model",
    [TorchLogisticClassifier(), make_pipeline(StandardScaler(), TorchMLPClassifier())],
    ids=["classifier", "pipeline"],
)
def test_model_that_is_not_fitted_raises(model):
    with pytest.raises(NotFittedError):
        to_onnx(model, X)


def test_rows_that_the_model_does_not_take_raise():
    with pytest.raises(ValueError, match="X has 2 features, but TorchLogisticClassifier"):
        to_onnx(logistic(), X[:, :2])


def test_estimator_without_converter_raises():
    model = make_pipeline(RBFSampler(random_state=0), TorchLogisticClassifier()).fit(X, Y)
    assert_error(
        model,
        "All estimators of the model must have a converter to ONNX, got RBFSampler. Leave it out, "
        "or register a converter with skl2onnx.update_registered_converter.",
    )


def test_error_of_skl2onnx_says_what_to_do():
    steps = FunctionTransformer(np.tanh), TorchLogisticClassifier()
    with pytest.raises(ValueError, match="skl2onnx must convert all estimators") as raised:
        to_onnx(make_pipeline(*steps).fit(X, Y), X)
    assert str(raised.value).endswith(
        "Replace the estimator. If it is converted for float32 only, pass X as float32."
    )


def test_column_with_the_name_of_an_output_raises():
    frame = pd.DataFrame(X, columns=["a", "label", "c"])
    assert_error(
        TorchLogisticClassifier().fit(frame, Y),
        "The columns of X must not have the names of the graph's outputs, ['label', "
        "'probabilities'], got ['label']. Rename them.",
        frame,
        options={"zipmap": False},
    )


def test_threshold_that_skl2onnx_ignores_raises():
    begin = "must not depend on a threshold that skl2onnx ignores."
    tuned = TunedThresholdClassifierCV(TorchLogisticClassifier(), cv=3).fit(X, Y)
    assert_error(
        tuned,
        f"The labels of TunedThresholdClassifierCV {begin} Set the threshold of its classifier "
        "instead, as in threshold='f1'.",
    )
    estimators = [("a", TorchLogisticClassifier(threshold=0.2)), ("b", TorchLogisticClassifier())]
    assert_error(
        VotingClassifier(estimators).fit(X, Y),
        f"The labels of VotingClassifier {begin} Set voting='soft', or the thresholds of its "
        "estimators to 0.5.",
    )
    last = TorchLogisticClassifier(threshold=0.2)
    assert_error(
        StackingClassifier(estimators, final_estimator=last, cv=3).fit(X, Y),
        f"The labels of StackingClassifier {begin} Set the threshold of its final_estimator to "
        "0.5.",
    )


def test_stacked_logits_raise():
    model = StackingClassifier([("a", logistic())], stack_method="decision_function", cv=3)
    assert_error(
        model.fit(X, Y),
        "stack_method of StackingClassifier must be 'predict_proba' for an export to ONNX, got "
        "'decision_function', which skl2onnx does not convert. Fit it with "
        "stack_method='predict_proba'.",
    )


def test_graph_with_other_probabilities_raises():
    # The converter of skl2onnx gives missing values a number, where OrdinalEncoder keeps them.
    frame = pd.DataFrame({"city": RNG.choice(["Oslo", "Rome", None], len(X))})
    steps = OrdinalEncoder(), SimpleImputer(), TorchLogisticClassifier()
    model = make_pipeline(*steps).fit(frame, frame["city"] == "Oslo")
    with pytest.raises(ValueError, match="The graph must give the probabilities") as raised:
        to_onnx(model, frame)
    assert re.sub(r"0\.\d+", "#", str(raised.value)) == (
        "The graph must give the probabilities of the model, got ones that differ by up to #. "
        "skl2onnx does not convert one of these exactly: OrdinalEncoder, SimpleImputer. Replace "
        "it, or report it to skl2onnx."
    )
    assert len(to_onnx(model, frame.dropna()).graph.input) == 1
