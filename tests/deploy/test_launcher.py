"""The files of Ray's launcher: taken by the checks of Ray's own `ray up`."""

from typing import Any

import pytest

from tests.deploy.files import from_yaml, options_of

ray_up = pytest.importorskip("ray.autoscaler._private.util")
FILES = ("on_premises", "aws")


def prepared(name: str) -> dict[str, Any]:
    """The file as `ray up` fills it in and checks it."""
    config: dict[str, Any] = ray_up.prepare_config(from_yaml(f"ray/{name}.yaml"))
    ray_up.validate_config(config)
    return config


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_the_file(name: str) -> None:
    assert prepared(name)["cluster_name"] == "sakuga"


def test_ray_refuses_a_key_that_it_does_not_know() -> None:
    config = from_yaml("ray/aws.yaml")
    config["wokers"] = 2
    with pytest.raises(Exception, match="wokers"):
        ray_up.validate_config(ray_up.prepare_config(config))


@pytest.mark.parametrize("name", FILES)
def test_nodes_start_with_the_token_and_the_dashboard_on_the_head_alone(name: str) -> None:
    config = prepared(name)
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    for command in (head, worker):
        assert "/opt/sakuga/deploy/docker/with_secrets.sh ray start" in command
    options = options_of(head.split())
    assert options["--dashboard-host"] == "127.0.0.1"
    assert options["--num-cpus"] == "0"
    assert options_of(worker.split())["--address"] == f"$RAY_HEAD_IP:{options['--port']}"
    assert any("/run/secrets" in place for place in (*config["docker"]["run_options"], *config["file_mounts"]))


@pytest.mark.parametrize("name", FILES)
def test_all_nodes_run_one_image_and_share_the_runs(name: str) -> None:
    docker = prepared(name)["docker"]
    assert docker["image"].endswith("sakuga:gpu")
    assert any(option.startswith("--volume=") and option.endswith(":/runs") for option in docker["run_options"])


def test_every_machine_on_premises_is_a_node_from_the_start() -> None:
    config = prepared("on_premises")
    num_workers = len(config["provider"]["worker_ips"])
    (node,) = config["available_node_types"].values()
    assert (node["min_workers"], node["max_workers"], config["max_workers"]) == (num_workers,) * 3


def test_workers_in_the_cloud_are_spot_machines_and_the_head_is_not() -> None:
    types = prepared("aws")["available_node_types"]
    assert types["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["head"]["resources"]["CPU"] == 0
    for node in types.values():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert node["node_config"]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
