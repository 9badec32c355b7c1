"""MLflow's registry: the best model of a study, and the paper row it is compared with, ready to be served.

Everything is looked up before it is made, by the trial's number: what a killed start has left half-done is finished by
the next, and the same best again makes no other version.
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

from shards_tools.plugins import shipped_plugins
from trainables.places import fetched, is_there

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

ROOT = Path(__file__).parents[2]
CORE = ("trainables", "shards_tools")  # goes with the model
NEEDED = (
    "mlflow", "numpy", "pandas", "pillow", "psutil", "pytorch-metric-learning", "safetensors", "simplejpeg", "timm",
    "torch", "torchvision", "tqdm", "urllib3", "webdataset",
)  # fmt: skip
MODEL_TYPE = "sakuga"
USER_CODE = "user_code.json"  # of the model: the user's own code


class Registry:
    """The models of one study."""

    def __init__(self, client: MlflowClient, experiment: str, study: str, packaging: threading.Lock) -> None:
        """Holds `packaging` while it makes the folder of a model."""
        self._client, self._experiment, self._packaging = client, experiment, packaging
        self.name = study

    def register(self, model: Mapping[str, Any], run_id: str) -> None:
        """Keep the checkpoint of a trial as a version of the study's model, and let its alias point there.

        Args:
            model: its `trial`, `alias`, `checkpoint`, names of `metrics` and a `note`, as the journal has them.
        """
        number = str(model["trial"])
        known = self._version(number)
        if known is None and is_there(model["checkpoint"]):
            with fetched(model["checkpoint"]) as checkpoint:
                logged = self._log(number, checkpoint, run_id, model)
            known = self._create_version(number, logged, run_id, model["note"])
        if known is not None:
            self._client.set_registered_model_alias(self.name, model["alias"], known)

    def _version(self, number: str) -> str | None:
        """The version of a trial, or None where it has none yet."""
        found = self._client.search_model_versions(f"name='{self.name}'")
        return next((str(one.version) for one in found if one.tags.get("trial") == number), None)

    def _create_version(self, number: str, logged: LoggedModel, run_id: str, note: str) -> str:
        if not self._client.search_registered_models(f"name='{self.name}'"):
            self._client.create_registered_model(self.name, description=f"The best of study {self.name}.")
        created = self._client.create_model_version(
            self.name,
            logged.artifact_location,
            run_id,
            tags={"trial": number},
            description=note,
            model_id=logged.model_id,
        )
        return str(created.version)

    def _log(self, number: str, checkpoint: Path, run_id: str, model: Mapping[str, Any]) -> LoggedModel:
        """The logged model of a trial, its files and numbers sent."""
        found = self._client.search_logged_models([self._experiment], f"tags.trial='{number}'")
        logged = found[0] if found else self._create_logged(number, run_id)
        if str(logged.status) == "READY":
            return logged
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "model"
            with self._packaging, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's about itself
                package(checkpoint, place, logged, run_id)
            self._client.log_model_artifacts(logged.model_id, str(place))
        for key in model["metrics"]:
            # as the run has it, or the run would have the same number at two times
            last = self._client.get_metric_history(run_id, key)[-1]
            self._client.log_metric(
                run_id, key, last.value, timestamp=last.timestamp, step=last.step, model_id=logged.model_id
            )
        self._show_on_run(logged.model_id, run_id)
        return self._client.finalize_logged_model(logged.model_id, "READY")

    def _show_on_run(self, model_id: str, run_id: str) -> None:
        """Let the run's page name the model."""
        from mlflow.entities import LoggedModelOutput

        run = self._client.get_run(run_id)
        shown = run.outputs.model_outputs if run.outputs else []
        if model_id not in (output.model_id for output in shown):
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])

    def _create_logged(self, number: str, run_id: str) -> LoggedModel:
        return self._client.create_logged_model(
            self._experiment, f"trial-{number}", run_id, {"trial": number}, model_type=MODEL_TYPE
        )


def package(checkpoint: Path, place: Path, logged: LoggedModel, run_id: str) -> None:
    """Write the folder of an MLflow model: the checkpoint, this project's core, the user's own code, and no pickle."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    from trainables.checkpoint import INFO_NAME

    artifacts = {"checkpoint": str(checkpoint)}
    plugins = shipped_plugins(list(json.loads((checkpoint / INFO_NAME).read_text()).get("plugins", {})))
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
    """What a served model takes and gives."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, DataType

    return ModelSignature(
        inputs=Schema([ColSpec("binary", "image"), ColSpec("binary", "other", required=False)]),
        outputs=Schema(
            [
                ColSpec(Array(DataType.string), "classes"),
                ColSpec(Array(DataType.double), "probabilities"),
                ColSpec(Array(DataType.double), "features"),
                ColSpec("double", "distance", required=False),
                ColSpec("boolean", "same_work", required=False),
            ]
        ),
        params=ParamSchema([ParamSpec("top", "long", 5), ParamSpec("false_accept_rate", "double", 0.01)]),
    )


def example_picture() -> bytes:
    """A PNG of a few bytes."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), (230, 150, 120)).save(file, "PNG")
    return file.getvalue()
