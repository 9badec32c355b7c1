"""The KubeRay manifests: held against the operator's own schema, and against what they promise."""

import argparse
import shlex
from typing import Any

import jsonschema
import pytest

from platform.search import parser
from tests.deploy.files import ROOT, from_yaml, schema, without_unknown

CLUSTER = from_yaml("kuberay/cluster.yaml")
JOB = from_yaml("kuberay/search.yaml")
HEAD: dict[str, Any] = CLUSTER["spec"]["headGroupSpec"]["template"]["spec"]
WORKER: dict[str, Any] = CLUSTER["spec"]["workerGroupSpecs"][0]["template"]["spec"]


def job_schema() -> dict[str, Any]:
    strict: dict[str, Any] = without_unknown(schema("kuberay-rayjob.json"))
    strict["properties"]["metadata"] = {"type": "object"}  # the server's own, which the operator leaves open
    return strict


def cluster_schema() -> dict[str, Any]:
    strict = job_schema()
    return {**strict["properties"]["spec"]["properties"]["rayClusterSpec"], "$defs": strict["$defs"]}


def test_the_manifests_keep_to_the_schema_of_the_operator() -> None:
    jsonschema.Draft202012Validator(job_schema()).validate(JOB)
    jsonschema.Draft202012Validator(cluster_schema()).validate(CLUSTER["spec"])


def test_the_schema_refuses_a_field_that_the_operator_does_not_know() -> None:
    wrong = from_yaml("kuberay/search.yaml")
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imgae"] = "sakuga:cpu"
    with pytest.raises(jsonschema.ValidationError, match="imgae"):
        jsonschema.Draft202012Validator(job_schema()).validate(wrong)


def test_a_job_has_the_same_cluster_as_the_one_that_stays() -> None:
    assert JOB["spec"]["rayClusterSpec"] == CLUSTER["spec"]
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == (JOB["apiVersion"], "RayCluster")


def test_the_cluster_asks_for_tokens_and_is_reached_from_inside_alone() -> None:
    assert CLUSTER["spec"]["authOptions"] == {"mode": "token", "secretName": "sakuga-ray"}
    assert CLUSTER["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert f"ray=={CLUSTER['spec']['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_trials_run_on_workers_alone() -> None:
    assert CLUSTER["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("pod", [HEAD, WORKER], ids=["head", "worker"])
def test_pods_run_as_a_user_without_rights_and_share_the_runs(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert {"name": "runs", "mountPath": "/runs"} in container["volumeMounts"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == "runs"]
    assert claims == [from_yaml("kuberay/runs.yaml")["metadata"]["name"]]


def test_many_nodes_may_write_the_runs() -> None:
    assert from_yaml("kuberay/runs.yaml")["spec"]["accessModes"] == ["ReadWriteMany"]


def test_workers_know_no_password_of_a_database() -> None:
    assert HEAD["containers"][0]["envFrom"] == [{"secretRef": {"name": "sakuga-stores"}}]
    assert WORKER["containers"][0]["envFrom"] == [{"secretRef": {"name": "sakuga-bucket"}}]


def test_a_driver_ends_in_good_order_before_its_pod_does() -> None:
    environment = {entry["name"]: entry["value"] for entry in HEAD["containers"][0]["env"]}
    assert int(environment["RAY_JOB_STOP_WAIT_TIME_S"]) < HEAD["terminationGracePeriodSeconds"]
    command = HEAD["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["python", "-c"]
    compile(command[2], "preStop", "exec")


def test_a_lost_cluster_is_replaced_and_the_same_study_gone_on_with() -> None:
    assert JOB["spec"]["backoffLimit"] > 0
    assert JOB["spec"]["shutdownAfterJobFinishes"] is True
    search = search_of(JOB["spec"]["entrypoint"])
    assert search.study
    assert str(search.runs) == "/runs"


def test_the_entrypoint_is_a_search_on_its_own_cluster_without_passwords() -> None:
    search = search_of(JOB["spec"]["entrypoint"])
    assert search.storage.startswith("postgresql+psycopg://sakuga@")
    assert search.tracking.startswith("http://")
    assert search.data.startswith("s3://")


def search_of(entrypoint: str) -> argparse.Namespace:
    """The options of the search that a job starts, but for the cluster, which is its own."""
    words = shlex.split(entrypoint)
    assert words[:5] == ["python", "-m", "platform.search", "--address", "auto"]
    return parser().parse_args(words[5:])
