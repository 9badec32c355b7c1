"""TransReID on cross-role retrieval: backbone, overlapping patches, JPM, batches, image size, optimizer, augmentation.

The baselines are the rows of Table 5 of the LSASRD paper. At tiny scale they are the same rows with narrower networks
and fewer epochs, plus hand-picked settings, because plain SGD does not train a small ViT from scratch.
"""

RECIPES = {"paper": "transreid-vit-base", "tiny": "transreid-tiny"}
BACKBONES = {
    "paper": ("vit_base_patch16_224", "vit_small_patch16_224"),
    "tiny": ("vit_96x2", "vit_128x2", "vit_96x4"),
}

# Image size -> strides. Patches are 16 px at paper scale, where a stride of 12 is the paper's overlap, and 8 px at tiny
# scale, where 6 is. From scratch, denser patches learn faster; strides that take too long are not available.
STRIDES_PX: dict[str, dict[int, tuple[int, ...]]] = {
    "paper": {224: (12, 16), 256: (12, 16), 288: (12, 16)},
    "tiny": {32: (2, 3, 4, 8), 48: (4, 6, 8)},
}
# Zero border before the random crop; the papers use 10 px at 256.
PAD_PX = {224: 9, 256: 10, 288: 11, 32: 1, 48: 2}

# The ranges cover the paper's SGD at 0.008 for batches of 64, and the needs of small ViTs from scratch.
LEARNING_RATES = {
    "paper": {"sgd": (1e-3, 5e-2), "adamw": (1e-5, 1e-3)},
    "tiny": {"sgd": (1e-3, 2e-1), "adamw": (2e-4, 1e-2)},
}
# TransReID doubles the learning rate of biases under SGD; AdamW scales each parameter's steps itself.
BIAS_LR_FACTORS = {"sgd": 2.0, "adamw": 1.0}
LONGEST_WARMUP_EPOCHS = {"paper": 10, "tiny": 2}


def suggest(trial, scale):
    """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
    image_size = trial.suggest_categorical("image_size", tuple(STRIDES_PX[scale]))
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adamw"))
    return {
        "recipe": RECIPES[scale],
        "backbone": trial.suggest_categorical("backbone", BACKBONES[scale]),
        "image_size": image_size,
        "stride_px": trial.suggest_categorical(f"stride_px_at_{image_size}", STRIDES_PX[scale][image_size]),
        "jpm": trial.suggest_categorical("jpm", (False, True)),
        "works_per_batch": trial.suggest_categorical("works_per_batch", (8, 16)),
        "images_per_work": trial.suggest_categorical("images_per_work", (4, 8)),
        "batch_sampler": trial.suggest_categorical("batch_sampler", ("full", "papers", "cross_role")),
        "optimizer": optimizer,
        "lr": trial.suggest_float(f"{optimizer}_lr", *LEARNING_RATES[scale][optimizer], log=True),
        "bias_lr_factor": BIAS_LR_FACTORS[optimizer],
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "warmup_epochs": trial.suggest_int("warmup_epochs", 0, LONGEST_WARMUP_EPOCHS[scale]),
        "drop_path": trial.suggest_float("drop_path", 0.0, 0.3),
        "pad_px": PAD_PX[image_size],
        "flip_probability": trial.suggest_categorical("flip_probability", (0.0, 0.5)),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
    }


BASELINES = {
    "paper": {"paper ViT-Base": "transreid-vit-base", "paper ViT-Stride": "transreid-vit-stride"},
    "tiny": {
        "paper ViT-Base": "transreid-vit-base-tiny",
        "paper ViT-Stride": "transreid-vit-stride-tiny",
        "hand-set": "transreid-tiny",
    },
}
