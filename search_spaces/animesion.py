"""Animesion's transformers, on images only or on images with tags.

The baselines are the headline results of its authors' README. At tiny scale they have narrower networks and fewer
epochs, plus hand-picked settings that learn from scratch.
"""

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
HAND_SET = {
    "backbone": "vit_96x4",
    "image_size": 48,
    "head": "ifa",
    "dropout": 0.0,
    "batch_size": 64,
    "optimizer": "adamw",
    "schedule": "cosine",
    "adamw_lr": 1e-3,
    "adamw_weight_decay": 0.05,
    "jitter": 0.0,
}


class Animesion:
    """Animesion on images only: backbone, last or all class tokens (IFA), exclusion, batches, optimizer, augmentation.

    For images with tags, see the space animesion_vilt.
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
    BASELINES = {
        "paper": {"paper L-16": "animesion-l16", "paper L-16 + IFA": "animesion-l16-ifa"},
        "tiny": {
            "paper L-16": "animesion-l16-tiny",
            "paper L-16 + IFA": "animesion-l16-ifa-tiny",
            "hand-set": {**HAND_SET, "label_smoothing": 0.0, "erase_probability": 0.0, "exclusion": False},
        },
    }

    @classmethod
    def suggest(cls, trial, scale):
        """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
        settings = {
            **_suggest_network(trial, scale, cls),
            "dropout": trial.suggest_float("dropout", 0.0, 0.3),
            **_suggest_optimization(trial, scale),
            "label_smoothing": trial.suggest_categorical("label_smoothing", (0.0, 0.1)),
            **_suggest_jitter(trial),
            "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
        }
        if trial.suggest_categorical("exclusion", (False, True)):
            settings["exclusion_weight"] = trial.suggest_float("exclusion_weight", 1e-3, 3e-2, log=True)
            settings["exclusion_distance"] = trial.suggest_int("exclusion_distance", 1, 3)
        return settings


class AnimesionViLT:
    """Animesion on images with tags (ViLT): text length, masking, tag loss, head, batches, optimizer, augmentation.

    It needs shards with tags, such as those of DAFull.
    """

    RECIPES = {"paper": "animesion-l16-vilt", "tiny": "animesion-l16-vilt-tiny"}
    BACKBONES = {
        "paper": ("vit_large_patch16_in21k", "vit_base_patch16_in21k", "vit_base_patch32_in21k"),
        "tiny": ("vit_96x2", "vit_96x4", "vit_96x6", "vit_128x4"),
    }
    BASELINES = {
        "paper": {"paper ViLT L-16": "animesion-l16-vilt"},
        "tiny": {
            "paper ViLT L-16": "animesion-l16-vilt-tiny",
            "hand-set": {
                **HAND_SET,
                "text_tokens": 16,
                "masking": "bert",
                "mask_with": "constant",
                "tag_weight": 1.0,
            },
        },
    }

    @classmethod
    def suggest(cls, trial, scale):
        """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
        return {
            **_suggest_network(trial, scale, cls),
            "text_tokens": trial.suggest_categorical("text_tokens", (8, 16, 32)),
            **_suggest_masking(trial),
            "dropout": trial.suggest_float("dropout", 0.0, 0.3),
            **_suggest_optimization(trial, scale),
            **_suggest_jitter(trial),
        }


SPACES = {"animesion": Animesion, "animesion_vilt": AnimesionViLT}


def _suggest_network(trial, scale, space):
    return {
        "recipe": space.RECIPES[scale],
        "backbone": trial.suggest_categorical("backbone", space.BACKBONES[scale]),
        "image_size": trial.suggest_categorical("image_size", IMAGE_SIZES[scale]),
        "head": trial.suggest_categorical("head", ("last", "ifa")),
    }


def _suggest_masking(trial):
    """Suggest how tags are masked, and the weight of predicting them; sigmoid's warm-up plus cool-down stay below 1."""
    masking = trial.suggest_categorical("masking", ("none", "bert", "full", "sigmoid"))
    if masking == "none":
        return {"masking": masking}
    settings = {
        "masking": masking,
        "mask_with": trial.suggest_categorical("mask_with", ("constant", "random")),
        "tag_weight": trial.suggest_float("tag_weight", 0.1, 2.0, log=True),
    }
    if masking == "sigmoid":
        settings["mask_warmup"] = trial.suggest_float("mask_warmup", 0.0, 0.3)
        settings["mask_cooldown"] = trial.suggest_float("mask_cooldown", 0.1, 0.6)
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


def _suggest_jitter(trial):
    """Suggest one strength for all of ColorJitter's; the authors use 0.1."""
    strength = trial.suggest_float("jitter", 0.0, 0.3)
    return {f"jitter_{part}": strength for part in ("brightness", "contrast", "saturation", "hue")}
