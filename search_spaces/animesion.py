"""Animesion on images only: backbone, last or all class tokens (IFA), exclusion, batches, optimizer, augmentation.

The baselines are the headline results of its authors' README. At tiny scale they have narrower networks and fewer
epochs, plus hand-picked settings that learn from scratch. For images with tags, see the space animesion_vilt.
"""

RECIPES = {"paper": "animesion-l16", "tiny": "animesion-l16-tiny"}
# Each has at least 4 blocks: the exclusion loss compares blocks up to 3 apart.
BACKBONES = {
    "paper": (
        "vit_large_patch16_in21k",
        "vit_base_patch16_in21k",
        "vit_large_patch32_in21k",
        "vit_base_patch32_in21k",
    ),
    "tiny": ("vit_96x4", "vit_128x4", "vit_96x6"),
}
IMAGE_SIZES = {"paper": (96, 128, 160), "tiny": (32, 48)}
BATCH_SIZES = (16, 32, 64)

# The ranges cover the authors' SGD at 0.001 without decay, and the needs of small transformers from scratch.
LEARNING_RATES = {
    "paper": {"sgd": (3e-4, 3e-2), "adamw": (1e-5, 5e-4)},
    "tiny": {"sgd": (1e-3, 2e-1), "adamw": (2e-4, 1e-2)},
}
WEIGHT_DECAYS = {"sgd": (0.0, 1e-3), "adamw": (0.0, 0.3)}
IMAGES_PER_TINY_EPOCH = 2048
WARMUP_EPOCHS = {"paper": 5, "tiny": 1}  # of the per-epoch cosine
# ColorJitter's strengths; the authors use 0.1 for each
JITTER_KEYS = ("jitter_brightness", "jitter_contrast", "jitter_saturation", "jitter_hue")


def suggest(trial, scale):
    """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
    settings = {
        "recipe": RECIPES[scale],
        "backbone": trial.suggest_categorical("backbone", BACKBONES[scale]),
        "image_size": trial.suggest_categorical("image_size", IMAGE_SIZES[scale]),
        "head": trial.suggest_categorical("head", ("last", "ifa")),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        **_suggest_optimization(trial, scale),
        "label_smoothing": trial.suggest_categorical("label_smoothing", (0.0, 0.1)),
        **dict.fromkeys(JITTER_KEYS, trial.suggest_float("jitter", 0.0, 0.3)),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
    }
    if trial.suggest_categorical("exclusion", (False, True)):
        settings["exclusion_weight"] = trial.suggest_float("exclusion_weight", 1e-3, 3e-2, log=True)
        settings["exclusion_distance"] = trial.suggest_int("exclusion_distance", 1, 3)
    return settings


def _suggest_optimization(trial, scale):
    """Suggest batches, the optimizer with its own learning rate and decay, and a cosine with one of two warm-ups."""
    batch_size = trial.suggest_categorical("batch_size", BATCH_SIZES)
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adamw"))
    schedule = trial.suggest_categorical("schedule", ("step_cosine", "cosine"))
    by_steps = schedule == "step_cosine"
    # the authors use 1,000 steps; at tiny scale, the first epoch
    steps = {"paper": 1000, "tiny": IMAGES_PER_TINY_EPOCH // batch_size}[scale]
    return {
        "batch_size": batch_size,
        "optimizer": optimizer,
        "lr": trial.suggest_float(f"{optimizer}_lr", *LEARNING_RATES[scale][optimizer], log=True),
        "weight_decay": trial.suggest_float(f"{optimizer}_weight_decay", *WEIGHT_DECAYS[optimizer]),
        "schedule": schedule,
        "warmup_steps": steps if by_steps else 0,
        "warmup_epochs": 0 if by_steps else WARMUP_EPOCHS[scale],
    }


def _row(backbone, scale, *, batch_size, head):
    """Return a headline: 128 px, SGD at 0.001, 1,000 warm-up steps and a cosine, dropout, color jitter."""
    return {
        "batch_size": batch_size,
        "optimizer": "sgd",
        "schedule": "step_cosine",
        "jitter": 0.1,
        "backbone": backbone,
        "image_size": {"paper": 128, "tiny": 48}[scale],
        "head": head,
        "dropout": 0.1,
        "sgd_lr": 0.001,
        "sgd_weight_decay": 0.0,
        "label_smoothing": 0.0,
        "erase_probability": 0.0,
        "exclusion": False,
    }


BASELINES = {
    "paper": {
        "paper L-16": _row("vit_large_patch16_in21k", "paper", batch_size=16, head="last"),
        "paper L-16 + IFA": _row("vit_large_patch16_in21k", "paper", batch_size=16, head="ifa"),
    },
    "tiny": {
        "paper L-16": _row("vit_96x6", "tiny", batch_size=16, head="last"),
        "paper L-16 + IFA": _row("vit_96x6", "tiny", batch_size=16, head="ifa"),
        "hand-set": {
            "batch_size": 64,
            "optimizer": "adamw",
            "schedule": "cosine",
            "jitter": 0.0,
            "backbone": "vit_96x4",
            "image_size": 48,
            "head": "ifa",
            "dropout": 0.0,
            "adamw_lr": 1e-3,
            "adamw_weight_decay": 0.05,
            "label_smoothing": 0.0,
            "erase_probability": 0.0,
            "exclusion": False,
        },
    },
}
