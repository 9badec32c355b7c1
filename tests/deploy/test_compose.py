"""The compose files: held against the compose specification's schema, and against what they refer to."""

import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.deploy.files import DEPLOY, ROOT, from_yaml, instructions, options_of, schema

COMPOSE = from_yaml("compose/compose.yaml")
GPU = from_yaml("compose/compose.gpu.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml"])
def test_a_compose_file_keeps_to_the_specification(file: str) -> None:
    jsonschema.Draft7Validator(schema("compose-spec.json")).validate(from_yaml(f"compose/{file}"))


def test_the_schema_refuses_a_key_that_compose_does_not_know() -> None:
    wrong = {"services": {"head": {"image": "sakuga:cpu", "prots": []}}}
    assert not jsonschema.Draft7Validator(schema("compose-spec.json")).is_valid(wrong)


def test_the_services_are_a_ray_cluster_and_its_stores() -> None:
    assert set(SERVICES) == {"head", "worker", "mlflow", "postgres", "store"}
    assert set(GPU["services"]) == {"worker"}
    assert int(SERVICES["postgres"]["image"].partition(":")[2]) >= 15


def test_what_is_published_is_published_to_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:5000:5000", "127.0.0.1:8265:8265", "127.0.0.1:9000:9000"]
    assert COMPOSE["networks"]["cluster"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == ["cluster"]


def test_ray_asks_for_tokens_on_every_node_and_workers_join_the_head() -> None:
    for name in ("head", "worker"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert "ray_auth_token" in SERVICES[name]["secrets"]
    head, worker = (options_of(SERVICES[name]["command"]) for name in ("head", "worker"))
    assert worker["--address"] == f"head:{head['--port']}"
    assert head["--num-cpus"] == "0"  # trials run on workers


def test_workers_know_no_password_of_a_database() -> None:
    known = {secret if isinstance(secret, str) else secret["source"] for secret in SERVICES["worker"]["secrets"]}
    assert known == {"ray_auth_token", "aws_access_key_id", "aws_secret_access_key"}


def test_every_secret_that_is_used_is_declared_and_made(tmp_path: Path) -> None:
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in SERVICES.values()
        for secret in service.get("secrets", [])
    }
    assert used == set(COMPOSE["secrets"])
    script = tmp_path / "make_secrets.sh"
    script.write_text((DEPLOY / "compose/make_secrets.sh").read_text())
    subprocess.run(["sh", script], check=True)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert set(made) == used
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[0-9a-f]{64}", password) for password in made.values())
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o600}
    subprocess.run(["sh", script], check=True)
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == made


def test_secrets_and_settings_are_ignored_by_git_and_no_password_stands_in_the_files() -> None:
    for path in ("deploy/compose/.env", "deploy/compose/secrets/pgpassword"):
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
        if ignored.returncode == 128:
            pytest.skip("not a git checkout, so there are no ignore rules to test")
        assert ignored.returncode == 0
    settings = {key: value for service in SERVICES.values() for key, value in service.get("environment", {}).items()}
    telling = {key for key in settings if re.search("PASSWORD|SECRET|TOKEN|KEY", key)}
    assert telling == {"POSTGRES_PASSWORD_FILE"}


def test_every_setting_of_the_environment_file_is_empty_and_used() -> None:
    lines = (DEPLOY / "compose/.env.example").read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    assert all(line.endswith("=") for line in settings)
    used = re.findall(r"\$\{(\w+):-", "".join((DEPLOY / "compose" / name).read_text() for name in ("compose.yaml",)))
    assert {line.rstrip("=") for line in settings} == set(used)


def test_every_image_of_ours_is_built_from_a_dockerfile_that_is_there() -> None:
    for service in (*SERVICES.values(), *GPU["services"].values()):
        assert re.search(r":[\w.-]+$", service["image"]), "an image without a version"
        if "build" in service:
            dockerfile = ROOT / service["build"]["dockerfile"]
            assert dockerfile.exists()
            assert service["image"] == f"sakuga:{dockerfile.name.partition('.')[0]}"
    assert (DEPLOY / "compose" / SERVICES["head"]["build"]["context"]).resolve() == ROOT


def test_every_database_that_is_spoken_of_is_made() -> None:
    made = set(re.findall(r"CREATE DATABASE (\w+);", (DEPLOY / "compose/databases.sql").read_text()))
    made.add(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
    served = " ".join(said for _, said in instructions("mlflow.Dockerfile"))
    named = re.findall(r"postgresql\+psycopg:///(\w+)", served + (DEPLOY / "docker/mlflow_auth.ini").read_text())
    assert made == {"optuna", *named}


def test_mlflow_answers_by_the_name_that_drivers_use() -> None:
    hosts = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert set(hosts) == {"mlflow:5000", "localhost:5000", "127.0.0.1:5000"}


def test_a_driver_ends_in_good_order_before_its_container_does() -> None:
    assert SERVICES["head"]["stop_grace_period"] == "2m"
    assert 3 < int(SERVICES["head"]["environment"]["RAY_JOB_STOP_WAIT_TIME_S"]) < 120
