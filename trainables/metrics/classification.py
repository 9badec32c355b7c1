"""Top-1 and top-5 accuracy, also by the number of training images of a class.

Q images, N classes.
"""

import numpy as np

# Liu et al. 2019 (arXiv 1904.05160): classes with fewer than 20 training images, up to 100, and more
SIZES = {"few": (0, 19), "medium": (20, 100), "many": (101, np.inf)}


def classification_metrics(
    places_Q: np.ndarray, classes_Q: np.ndarray, images_of_class_N: np.ndarray | None
) -> dict[str, float]:
    """Return top1 and top5, the mean of top1 over classes, and top1 of few-, medium- and many-shot classes.

    Args:
        places_Q: the rank of the right class in the order of the logits, from 1.
        classes_Q: the right classes.
        images_of_class_N: the number of training images of each class; None: unknown.

    Returns:
        Fractions in 0..1 by name. With five classes or fewer, top5 is 1. A group without images is left out, and all
        groups are if the number of training images is unknown.
    """
    right_Q = places_Q == 1
    counts_N = np.bincount(classes_Q)
    of_class_N = np.bincount(classes_Q, right_Q)
    there = counts_N > 0
    metrics = {
        "top1": float(right_Q.mean()),
        "top5": float((places_Q <= 5).mean()),
        "top1_mean_class": float((of_class_N[there] / counts_N[there]).mean()),
    }
    if images_of_class_N is None:
        return metrics
    trained_Q = images_of_class_N[classes_Q]
    for name, (least, most) in SIZES.items():
        in_group = (trained_Q >= least) & (trained_Q <= most)
        if in_group.any():
            metrics[f"top1_{name}"] = float(right_Q[in_group].mean())
    return metrics


def chance_of_classes(
    num_classes: int, classes_Q: np.ndarray, images_of_class_N: np.ndarray | None
) -> dict[str, float]:
    """Return the expectation of `classification_metrics` for logits that carry no information."""
    first, fifth = 1 / num_classes, min(5, num_classes) / num_classes
    names = classification_metrics(np.ones(len(classes_Q)), classes_Q, images_of_class_N)
    return {name: fifth if name == "top5" else first for name in names}
