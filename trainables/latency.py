"""Measure the inference latency of a network per image."""

import time

import numpy as np
import torch

from trainables.train_state import TrainState

IMAGES = 64  # batch size; smaller if val has fewer images
REPEATS = 3  # after one warm-up; the fastest counts, because other load only makes runs slower


def ms_per_image(training: TrainState) -> float:
    """Measure the milliseconds per image to compute its feature or logits, for a batch that is already on the device.

    The network runs as in `Evaluation`, in the precision of its weights; reading and decoding are not included.
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
