"""The MLflow model of a checkpoint: predicts classes, features and same-work decisions for images.

MLflow runs this file to load the model. It imports only the packages that are copied into the model, because the
serving machine does not have Sakuga installed.
"""

import json
from collections.abc import Mapping
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
from trainables.metrics.cross_role import Floats

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
            model_input: pictures in the column `image` and, optionally, pictures to compare them with in the column
                `other`; each is encoded bytes, or their text in base64.
            params: `top`, the number of classes to return; `false_accept_rate`, which selects the distance threshold.

        Returns:
            The columns `classes`, `probabilities` and `features`; with `other`, also `distance` and `same_work`, which
            are None in rows without `other`. If a picture of any row cannot be read, also `error`: the reason, or None
            for the other rows.

        Raises:
            MlflowException: no row can be answered, a parameter is invalid, or the model has no thresholds.
        """
        params = params or {}
        try:
            top, rate = _number_of_classes(params), _false_accept_rate(params)
            return self._answer(model_input, top, rate)
        except Error as mistake:
            raise MlflowException.invalid_parameter_value(str(mistake)) from mistake

    def _answer(self, model_input: pd.DataFrame, top: int, false_accept_rate: float) -> pd.DataFrame:
        pictures = _cells(model_input["image"])
        inputs = self._predictor.of_cells(pictures)
        features_ND, probabilities_NC = self._predictor.predict(inputs, len(pictures))
        classes = top_classes(probabilities_NC, self._predictor.info.works, top)
        answer = pd.DataFrame(
            {
                "classes": [[name for name, _ in row] for row in classes],
                "probabilities": [[chance for _, chance in row] for row in classes],
                "features": features_ND.tolist(),
            }
        )
        if "other" not in model_input:
            return _with_errors(answer, inputs.errors)
        others = {row: cell for row, cell in _cells(model_input["other"]).items() if cell is not None}
        compared, errors = self._compare(features_ND, others, false_accept_rate)
        return _with_errors(answer.join(compared), {**errors, **inputs.errors})

    def _compare(
        self, features_ND: Floats, others: Mapping[int, object], false_accept_rate: float
    ) -> tuple[pd.DataFrame, dict[int, str]]:
        """Return the distance and the decision of each row, None for rows without `other`, and errors by row."""
        if self._verification is None:
            raise Error("This model has no verification thresholds. Leave out the column 'other'.")
        threshold = self._verification.at_rate(false_accept_rate).threshold
        inputs, rows = self._predictor.of_cells(others), list(others)
        distances = distances_of_pairs(features_ND[rows], self._predictor.features(inputs, len(rows)))
        answered = pd.DataFrame({"distance": distances.astype(float), "same_work": distances < threshold}, index=rows)
        compared = answered.astype(object).reindex(range(len(features_ND)))
        errors = {rows[index]: f"other: {text}" for index, text in inputs.errors.items()}
        return compared.where(compared.notna(), None), errors


def _number_of_classes(params: Mapping[str, Any]) -> int:
    top = params.get("top", USUAL_TOP)
    if not isinstance(top, int) or top < 1:
        raise Error(f"top={top} is invalid. Use an integer of at least 1.")
    return top


def _false_accept_rate(params: Mapping[str, Any]) -> float:
    rate = params.get("false_accept_rate", USUAL_FALSE_ACCEPT_RATE)
    if not isinstance(rate, float) or not 0 < rate < 1:
        raise Error(f"false_accept_rate={rate} is invalid. Use a number between 0 and 1.")
    return rate


def _cells(column: pd.Series) -> dict[int, object]:
    """Return the cells by row; None for null, and for a key that a row of the request lacks, which pandas makes NaN."""
    return {row: None if pd.api.types.is_scalar(cell) and pd.isna(cell) else cell for row, cell in enumerate(column)}


def _with_errors(answer: pd.DataFrame, errors: Mapping[int, str]) -> pd.DataFrame:
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
