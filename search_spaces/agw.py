"""AGW on cross-role retrieval: backbone, stride, pooling, non-local blocks, losses, batches, optimizer, augmentation.

The baselines are rows of Table 4 of the LSASRD paper. At tiny scale they are the same rows with narrower networks and
fewer epochs, plus hand-picked settings that learn from scratch. ResNet50 IBN A is available at tiny scale only, because
no registry has its weights any more.
"""

RECIPES = {"paper": "agw-resnet50", "tiny": "agw-resnet50-tiny"}
BACKBONES = {
    "paper": (
        "resnet50",
        "resnet101",
        "resnet152",
        "legacy_seresnet50",
        "legacy_seresnet101",
        "legacy_seresnet152",
        "legacy_seresnext50",
        "legacy_seresnext101",
    ),
    "tiny": ("resnet18_32", "resnet50_16", "resnet50_16_ibn_a"),
}
# In the paper, plain ResNets have no ReLU in their stem.
WITHOUT_STEM_RELU = {"resnet50", "resnet101", "resnet152", "resnet50_16"}
# Image size -> zero border before the random crop; the papers use 10 px at 256.
PAD_PX = {"paper": {224: 9, 256: 10, 288: 11}, "tiny": {32: 1, 48: 2, 64: 2}}

# Paper, code and upstream use batches of 64, as 16 works x 4 images; other shapes need the same memory.
IMAGES_PER_BATCH = 64
# The ranges cover the paper's SGD at 0.01, upstream's Adam at 3.5e-4, and the needs of small networks from scratch.
LEARNING_RATES = {
    "paper": {"sgd": (1e-3, 1e-1), "adam": (5e-5, 2e-3)},
    "tiny": {"sgd": (3e-3, 3e-1), "adam": (2e-4, 1e-2)},
}
MILESTONES = {"paper": (40, 80), "tiny": (4, 8)}


def suggest(trial, scale):
    """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
    backbone = trial.suggest_categorical("backbone", BACKBONES[scale])
    image_size = trial.suggest_categorical("image_size", tuple(PAD_PX[scale]))
    works_per_batch = trial.suggest_categorical("works_per_batch", (4, 8, 16))
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adam"))
    schedule = trial.suggest_categorical("schedule", ("multistep", "cosine"))
    settings = {
        "recipe": RECIPES[scale],
        "backbone": backbone,
        "stem_relu": backbone not in WITHOUT_STEM_RELU,
        "image_size": image_size,
        "pad_px": PAD_PX[scale][image_size],
        "last_stride": trial.suggest_categorical("last_stride", ("1", "2")),
        "pooling": trial.suggest_categorical("pooling", ("avg", "gem")),
        "non_local": trial.suggest_categorical("non_local", ("none", "dot")),
        "metric_loss": trial.suggest_categorical("metric_loss", ("wrt", "wrt_agw", "soft_triplet", "triplet")),
        "metric_weight": trial.suggest_float("metric_weight", 0.1, 2.0, log=True),
        "works_per_batch": works_per_batch,
        "images_per_work": IMAGES_PER_BATCH // works_per_batch,
        "batch_sampler": trial.suggest_categorical("batch_sampler", ("full", "papers", "cross_role")),
        "optimizer": optimizer,
        "lr": trial.suggest_float(f"{optimizer}_lr", *LEARNING_RATES[scale][optimizer], log=True),
        "schedule": schedule,
        "milestones": MILESTONES[scale] if schedule == "multistep" else (),
        "flip_probability": trial.suggest_categorical("flip_probability", (0.0, 0.5)),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
    }
    if settings["metric_loss"] == "triplet":
        settings["metric_margin"] = trial.suggest_float("triplet_margin", 0.1, 0.5)
    return settings


BASELINES = {
    "paper": {"paper ResNet50": "agw-resnet50", "paper ResNet50 NL": "agw-resnet50-nl"},
    "tiny": {
        "paper ResNet50": "agw-resnet50-tiny",
        "paper ResNet50 NL": "agw-resnet50-nl-tiny",
        "hand-set": {
            "backbone": "resnet18_32",
            "image_size": 48,
            "works_per_batch": 16,
            "optimizer": "sgd",
            "schedule": "cosine",
            "last_stride": "1",
            "pooling": "gem",
            "non_local": "none",
            "metric_loss": "wrt",
            "metric_weight": 0.3,
            "batch_sampler": "full",
            "sgd_lr": 0.1,
            "flip_probability": 0.0,
            "erase_probability": 0.0,
        },
    },
}
