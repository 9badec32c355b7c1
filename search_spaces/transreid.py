"""TransReID on cross-role retrieval: backbone, overlapping patches, JPM, batch shape, image size, optimiser and regularisation.

The baselines are the rows of Table 5 of the LSASRD paper; at tiny scale the same rows narrowed and shortened,
and a set of values chosen by hand, because plain SGD trains no small ViT from scratch.
"""

RECIPES = {"paper": "transreid-vit-base", "tiny": "transreid-tiny"}

# Stride 12 on patches of 16 is the paper's overlap; 6 on patches of 8 is the same overlap.
STRIDES_PX = {"paper": (12, 16), "tiny": (6, 8)}
BACKBONES = {
    "paper": ("vit_base_patch16_224", "deit_base_patch16_224", "deit_small_patch16_224"),
    "tiny": ("vit_96x4", "vit_128x4", "vit_96x6"),
}
IMAGE_SIZES = {"paper": (224, 256, 288), "tiny": (48, 64)}

# The ranges hold the papers' learning rates (SGD 0.008, at batch 64) and what small ViTs need from scratch.
LEARNING_RATES = {
    "paper": {"sgd": (1e-3, 5e-2), "adamw": (1e-5, 1e-3)},
    "tiny": {"sgd": (1e-3, 2e-1), "adamw": (2e-4, 1e-2)},
}
LONGEST_WARMUP_EPOCHS = {"paper": 10, "tiny": 2}


def suggest(trial, scale):
    """The settings of one trial at `scale`: a recipe and the keys of it that differ."""
    optimiser = trial.suggest_categorical("optimiser", ("sgd", "adamw"))
    lowest, highest = LEARNING_RATES[scale][optimiser]
    return {
        "recipe": RECIPES[scale],
        "backbone": trial.suggest_categorical("backbone", BACKBONES[scale]),
        "stride_px": trial.suggest_categorical("stride_px", STRIDES_PX[scale]),
        "jpm": trial.suggest_categorical("jpm", (False, True)),
        "image_size": trial.suggest_categorical("image_size", IMAGE_SIZES[scale]),
        "works_per_batch": trial.suggest_categorical("works_per_batch", (4, 8, 16)),
        "images_per_work": trial.suggest_categorical("images_per_work", (4, 8, 16)),
        "optimiser": optimiser,
        "lr": trial.suggest_float(f"{optimiser}_lr", lowest, highest, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "warmup_epochs": trial.suggest_int("warmup_epochs", 0, LONGEST_WARMUP_EPOCHS[scale]),
        "drop_path": trial.suggest_float("drop_path", 0.0, 0.3),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
    }


def _row(scale, *, stride_px, jpm):
    """A row of Table 5: ViT-Base at 16 works x 4 images, SGD 0.008, weight decay 1e-4, five epochs of warm-up."""
    return {
        "backbone": BACKBONES[scale][0],
        "stride_px": stride_px,
        "jpm": jpm,
        "image_size": {"paper": 256, "tiny": 64}[scale],
        "works_per_batch": 16,
        "images_per_work": 4,
        "optimiser": "sgd",
        "sgd_lr": 0.008,
        "weight_decay": 1e-4,
        "warmup_epochs": {"paper": 5, "tiny": 1}[scale],
        "drop_path": 0.1,
        "erase_probability": 0.5,
    }


BASELINES = {
    "paper": {
        "paper ViT-Base": _row("paper", stride_px=16, jpm=False),
        "paper ViT-Stride": _row("paper", stride_px=12, jpm=True),
    },
    "tiny": {
        "paper ViT-Base": _row("tiny", stride_px=8, jpm=False),
        "paper ViT-Stride": _row("tiny", stride_px=6, jpm=True),
        "hand-set": {
            "backbone": "vit_128x4",
            "stride_px": 8,
            "jpm": False,
            "image_size": 48,
            "works_per_batch": 16,
            "images_per_work": 4,
            "optimiser": "adamw",
            "adamw_lr": 1e-3,
            "weight_decay": 0.05,
            "warmup_epochs": 1,
            "drop_path": 0.0,
            "erase_probability": 0.0,
        },
    },
}
