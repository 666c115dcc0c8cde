"""Methods that leave an estimator unchanged when they fail."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from skbinary.runtime.defaults import default_settings
from skbinary.runtime.memory import is_out_of_memory, out_of_memory

_Method = TypeVar("_Method", bound=Callable[..., Any])

# Arguments of fit in other libraries, and what to write instead.
_NAMES_ELSEWHERE = {
    "eval_set": "Pass the validation set as X_val and y_val: write "
    "fit(X, y, X_val=X_val, y_val=y_val).",
    "eval_sample_weight": "Write fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights).",
    "validation_split": "Set the parameters early_stopping=True and validation_fraction.",
    "epochs": "Set the parameter max_iter.",
    "n_epochs": "Set the parameter max_iter.",
    "max_epochs": "Set the parameter max_iter.",
    "early_stopping_rounds": "Set the parameter n_iter_no_change.",
}
_NAMES_ELSEWHERE["validation_data"] = _NAMES_ELSEWHERE["eval_set"]
_NAMES_ELSEWHERE["X_val"] = _NAMES_ELSEWHERE["y_val"] = _NAMES_ELSEWHERE["eval_set"]


def unchanged_on_error(method: _Method) -> _Method:
    """Decorate a method of an estimator so that an error leaves the estimator unchanged.

    The estimator's attributes are restored if `method` raises. The method runs with the default
    settings of torch and NumPy, and if memory runs out, the error says what to do.
    """
    parameters = inspect.signature(method).parameters.values()
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    names = {each.name for each in parameters}

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not takes_any:
            for name in kwargs.keys() - names:
                raise TypeError(_unknown_argument(self, method.__name__, name))
        before = self.__dict__.copy()
        try:
            with default_settings():
                return method(self, *args, **kwargs)
        except BaseException as error:
            self.__dict__ = before  # one step, which Ctrl-C cannot split
            if is_out_of_memory(error):
                what = f"{type(self).__name__}.{method.__name__}"
                raise out_of_memory(error, what, self._memory_advice) from error
            raise

    return guarded  # type: ignore[return-value]  # with the signature of `method`


def _unknown_argument(estimator: Any, method: str, name: str) -> str:
    """Return the message for an argument that a method does not take."""
    advice = _NAMES_ELSEWHERE.get(name, "Leave it out.")
    if name in estimator._get_param_names():
        advice = f"It is a parameter of the estimator: write set_params({name}=...)."
    kind = type(estimator).__name__
    return f"{kind}.{method}() got an unexpected keyword argument {name!r}. {advice}"
