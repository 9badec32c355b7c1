"""The MLflow model of a checkpoint: predicts classes, features and same-work decisions for images.

MLflow runs this file to load the model. It imports only the packages that are copied into the model, because the
serving machine does not have Sakuga installed.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from shards_tools.errors import Error
from shards_tools.plugins import load_shipped
from trainables.evaluation.metric_names import USUAL_FALSE_ACCEPT_RATE
from trainables.inference.prediction import Predictor, distances_of_pairs, top_classes
from trainables.inference.verification import read_verification

USUAL_TOP = 5


class PictureModel(PythonModel):
    """Predict the classes and features of images, and whether two images show the same work."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the user's own code, if the checkpoint needs any, and the checkpoint."""
        if "user_code" in context.artifacts:
            plugins = json.loads(Path(context.artifacts["user_code"]).read_text())
            load_shipped(plugins, accept_changed_code=True)  # this code came with the checkpoint
        checkpoint = Path(context.artifacts["checkpoint"])
        self._predictor, self._verification = Predictor(checkpoint), read_verification(checkpoint)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row of predictions per row of the input.

        Args:
            context: MLflow's context, unused.
            model_input: encoded pictures in the column `image` and, optionally, an image to compare it with in the
                column `other`.
            params: `top`, the number of classes to return; `false_accept_rate`, which selects the distance threshold.

        Returns:
            The columns `classes`, `probabilities` and `features`; with `other`, also `distance` and `same_work`. If a
            picture of any row cannot be read, also `error`: the reason, or None for the other rows.

        Raises:
            MlflowException: no picture can be read, a parameter is invalid, or the model has no thresholds.
        """
        try:
            return self._answer(model_input, params or {})
        except Error as mistake:
            raise MlflowException.invalid_parameter_value(str(mistake)) from mistake

    def _answer(self, model_input: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        pictures, top = list(model_input["image"]), int(params.get("top", USUAL_TOP))
        inputs = self._predictor.of_bytes(pictures)
        features_ND = self._predictor.features(inputs, len(pictures))
        classes = top_classes(self._predictor.probabilities(inputs, len(pictures)), self._predictor.info.works, top)
        answer = pd.DataFrame(
            {
                "classes": [[name for name, _ in row] for row in classes],
                "probabilities": [[chance for _, chance in row] for row in classes],
                "features": features_ND.tolist(),
            }
        )
        errors = dict(inputs.errors)
        if "other" in model_input:
            if self._verification is None:
                raise Error("This model has no verification thresholds. Leave out the column 'other'.")
            point = self._verification.at_rate(float(params.get("false_accept_rate", USUAL_FALSE_ACCEPT_RATE)))
            others = list(model_input["other"])
            other_inputs = self._predictor.of_bytes(others)
            distances_N = distances_of_pairs(features_ND, self._predictor.features(other_inputs, len(others)))
            answer = answer.assign(distance=distances_N.astype(float), same_work=distances_N < point.threshold)
            errors = {**{row: f"other: {text}" for row, text in other_inputs.errors.items()}, **errors}
        return _with_errors(answer, errors)


def _with_errors(answer: pd.DataFrame, errors: dict[int, str]) -> pd.DataFrame:
    """Return the rows with the errors in place of their answers, in a further column if there are any.

    Raises:
        Error: no row has an answer.
    """
    if not errors:
        return answer
    if len(errors) == len(answer):
        raise Error(errors[min(errors)])
    answer = answer.assign(error=[errors.get(row) for row in range(len(answer))]).astype(object)
    for row in range(len(answer)):
        for name in answer.columns.drop("error") if row in errors else ("error",):
            answer.at[row, name] = [] if isinstance(answer.at[row, name], list) else None
    return answer


set_model(PictureModel())
