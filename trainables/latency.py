"""How long the evaluated network takes for an image."""

import time

import numpy as np
import torch

from trainables.training import Training

IMAGES = 64  # at once; fewer where val has fewer
REPEATS = 3  # after one that warms up; the fastest counts, as whatever else the machine does makes the others slower


def ms_per_image(training: Training) -> float:
    """Milliseconds for the feature or the logits of one image, in a batch that lies on the device already.

    The network is evaluated as `Evaluation` does, in the precision of its weights; reading and decoding are not in it.
    """
    evaluation, model, device = training.evaluation, training.evaluated_model, training.device
    indices = np.concatenate([evaluation.query, evaluation.gallery]) if evaluation.ranks else evaluation.query
    images_BHWC, words_BL = training.inputs.at(indices[:IMAGES], device)
    network = model.embed if evaluation.ranks else model.classify
    was_training = model.training
    model.eval()
    seconds = []
    with torch.inference_mode():
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            network(images_BHWC, words_BL)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    model.train(was_training)
    return 1000 * min(seconds[1:]) / len(images_BHWC)
