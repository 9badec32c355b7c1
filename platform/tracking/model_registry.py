"""Register the best model of a study, and the paper row it is compared with, in MLflow's model registry.

Every step first looks up what exists for the trial's number. A registration that was interrupted is therefore completed
by the next start, and registering the same trial twice creates one version.
"""

from __future__ import annotations

import io
import json
import tempfile
import threading
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.run_paths import located
from platform.tracking.journal import Owner, tag_of
from shards_tools.plugins import loaded_plugins, shipped_plugins
from trainables.training.checkpoint_info import INFO_NAME
from trainables.training.checkpoint_store import fetched, is_there

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

ROOT = Path(__file__).parents[2]
CORE = ("trainables", "shards_tools")  # packages copied into the model
NEEDED = (
    "mlflow", "numpy", "pandas", "pillow", "psutil", "pytorch-metric-learning", "safetensors", "simplejpeg", "timm",
    "torch", "torchvision", "tqdm", "urllib3", "webdataset",
)  # fmt: skip
MODEL_TYPE = "sakuga"
USER_CODE = "user_code.json"  # the artifact with the user's own code


class Registry:
    """The registered model of one study, with one version per registered trial.

    Args:
        experiment: the ID of the study's MLflow experiment.
        packaging: a lock, held while the folder of a model is written.
        uploads: where this folder is written.
    """

    def __init__(
        self, client: MlflowClient, experiment: str, study: str, packaging: threading.Lock, uploads: Path
    ) -> None:
        self._client, self._experiment, self._packaging = client, experiment, packaging
        self._uploads = uploads
        self.name = study

    def register(self, model: Mapping[str, Any], run_id: str) -> None:
        """Register the checkpoint of a trial as a model version, and point the alias to it.

        If the trial has no version yet and its checkpoint no longer exists, nothing happens.

        Args:
            model: the model's `trial` (its owner), `alias`, `checkpoint`, names of `metrics` and `note`, from the
                journal.
            run_id: the MLflow run of the trial.
        """
        known = self._version(model["trial"])
        if known is None and is_there(place := located(model["checkpoint"])):
            with fetched(place, beside=self._uploads) as checkpoint:
                logged = self._log(checkpoint, run_id, model)
            known = self._create_version(model["trial"], logged, run_id, model["note"])
        if known is not None:
            self._client.set_registered_model_alias(self.name, model["alias"], known)

    def _version(self, owner: Owner) -> str | None:
        """Return the model version of a trial, or None if it has none yet."""
        key, value = tag_of(owner)
        found = self._client.search_model_versions(f"name='{self.name}'")
        return next((str(one.version) for one in found if one.tags.get(key) == value), None)

    def _create_version(self, owner: Owner, logged: LoggedModel, run_id: str, note: str) -> str:
        if not self._client.search_registered_models(f"name='{self.name}'"):
            self._client.create_registered_model(self.name, description=f"The best of study {self.name}.")
        created = self._client.create_model_version(
            self.name,
            logged.artifact_location,
            run_id,
            tags=dict([tag_of(owner)]),
            description=note,
            model_id=logged.model_id,
        )
        return str(created.version)

    def _log(self, checkpoint: Path, run_id: str, model: Mapping[str, Any]) -> LoggedModel:
        """Return the logged model of a trial, after uploading its files and metrics unless that is done."""
        key, value = tag_of(model["trial"])
        found = self._client.search_logged_models([self._experiment], f"tags.{key}='{value}'")
        logged = found[0] if found else self._create_logged(model["trial"], run_id)
        if str(logged.status) == "READY":
            return logged
        with tempfile.TemporaryDirectory(dir=self._uploads) as folder:
            place = Path(folder) / "model"
            with self._packaging, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow warns about its own code
                package(checkpoint, place, logged, run_id)
            self._client.log_model_artifacts(logged.model_id, str(place))
        for key in model["metrics"]:
            # With the time and step of the run's metric; otherwise the run would get the same value twice.
            last = self._client.get_metric_history(run_id, key)[-1]
            self._client.log_metric(
                run_id, key, last.value, timestamp=last.timestamp, step=last.step, model_id=logged.model_id
            )
        self._show_on_run(logged.model_id, run_id)
        return self._client.finalize_logged_model(logged.model_id, "READY")

    def _show_on_run(self, model_id: str, run_id: str) -> None:
        """Link the model to the run, so that the run's page shows it."""
        from mlflow.entities import LoggedModelOutput

        run = self._client.get_run(run_id)
        shown = run.outputs.model_outputs if run.outputs else []
        if model_id not in (output.model_id for output in shown):
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])

    def _create_logged(self, owner: Owner, run_id: str) -> LoggedModel:
        name = f"trial-{owner}" if isinstance(owner, int) else owner
        return self._client.create_logged_model(
            self._experiment, name, run_id, dict([tag_of(owner)]), model_type=MODEL_TYPE
        )


def package(checkpoint: Path, place: Path, logged: LoggedModel, run_id: str) -> None:
    """Write the folder of an MLflow model, without pickled objects.

    It has the checkpoint, a copy of the packages in `CORE` and the user's own code, if the checkpoint needs any.

    Args:
        place: the folder to create.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    artifacts = {"checkpoint": str(checkpoint)}
    plugins = shipped_plugins(loaded_plugins(json.loads((checkpoint / INFO_NAME).read_text()).get("plugins", {})))
    if plugins:
        code = place.with_name(USER_CODE)
        code.write_text(json.dumps(plugins))
        artifacts["user_code"] = str(code)
    mlflow.pyfunc.save_model(
        place,
        python_model=str(Path(__file__).with_name("served_model.py")),
        artifacts=artifacts,
        code_paths=[str(ROOT / name) for name in CORE],
        mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
        signature=signature(),
        input_example=pd.DataFrame({"image": [example_picture()]}),
        pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
    )


def signature() -> ModelSignature:
    """Return the inputs, outputs and parameters of a served model."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array, DataType

    return ModelSignature(
        # Not binary: MLflow would refuse the whole request for one row that it cannot convert.
        inputs=Schema([ColSpec(AnyType(), "image"), ColSpec(AnyType(), "other", required=False)]),
        outputs=Schema(
            [
                ColSpec(Array(DataType.string), "classes"),
                ColSpec(Array(DataType.double), "probabilities"),
                ColSpec(Array(DataType.double), "features"),
                ColSpec("double", "distance", required=False),
                ColSpec("boolean", "same_work", required=False),
                ColSpec("string", "error", required=False),
            ]
        ),
        params=ParamSchema([ParamSpec("top", "long", 5), ParamSpec("false_accept_rate", "double", 0.01)]),
    )


def example_picture() -> bytes:
    """Return a small PNG image, encoded."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), (230, 150, 120)).save(file, "PNG")
    return file.getvalue()
