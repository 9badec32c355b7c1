"""Classifiers of DAF:re and of moeimouto: the same networks, with what suits many or few images per class.

At tiny scale the baselines are the same rows with narrower networks and fewer epochs, plus hand-picked settings that
learn from scratch.
"""

TRANSFORMERS = {
    "paper": (
        "vit_base_patch16_in21k",
        "vit_base_patch32_in21k",
        "vit_large_patch16_in21k",
        "vit_large_patch32_in21k",
    ),
    "tiny": ("vit_96x4", "vit_96x4_patch16"),
}
RESNETS = {"paper": ("resnet18", "resnet152"), "tiny": ("resnet18_32", "resnet50_16")}
SHALLOW = {"paper": "shallownet", "tiny": "shallownet_64"}
# Only the light networks get batches of 1,024 and images of 224 px, as in the paper: the others need too much memory.
HEAVY = {"resnet152", "vit_base_patch16_in21k", "vit_large_patch16_in21k", "vit_large_patch32_in21k"}
IMAGE_SIZES = {"paper": (128, 224), "tiny": (32, 48)}
HEAVY_IMAGE_SIZE = 128
BATCH_SIZES = {
    "paper": {"heavy": (16, 64, 128), "light": (64, 256, 1024)},
    "tiny": {"light": (32, 64, 128)},
}

IMAGENET = {"pixel_mean": (0.485, 0.456, 0.406), "pixel_std": (0.229, 0.224, 0.225)}
HALF = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.5, 0.5, 0.5)}

# The ranges cover the paper's SGD at 0.001 without decay, and the needs of networks from scratch.
LEARNING_RATES = {
    "paper": {"sgd": (3e-4, 1e-1), "adamw": (1e-5, 1e-3)},
    "tiny": {"sgd": (1e-3, 3e-1), "adamw": (2e-4, 1e-2)},
}
HAND_SET = {
    "backbone": "resnet18_32",
    "batch_size_of_light": 64,
    "image_size": 48,
    "optimizer": "sgd",
    "schedule": "cosine",
    "sgd_lr": 0.1,
    "sgd_weight_decay": 5e-4,
    "warmup_epochs": 1,
    "train_mode_epochs": None,
    "label_smoothing": 0.0,
    "jitter": 0.0,
}


class DAFre:
    """Classifiers of DAF:re: backbone, pretraining, batch and image size, margin, balance, optimizer, augmentation.

    The baselines are rows of Table 1 of the DAF:re paper. Every trial has Table 1's 50 epochs; Table 3's rows take 200.
    """

    RECIPES = {"paper": "dafre-128-r18", "tiny": "dafre-128-r18-tiny"}
    WEIGHT_DECAYS = {"sgd": (0.0, 1e-3), "adamw": (0.0, 0.3)}
    LONGEST_WARMUP_EPOCHS = {"paper": 5, "tiny": 2}
    MILESTONES = {"paper": (20, 40), "tiny": (4, 8)}
    BASELINES = {
        "paper": {
            "paper R-18": "dafre-128-r18",
            "paper R-18, pretrained": "dafre-128-r18-pretrained",
            "paper B-16, pretrained": "dafre-128-b16-pretrained",
            "paper L-16, pretrained": "dafre-128-l16-pretrained",
        },
        "tiny": {
            "paper R-18": "dafre-128-r18-tiny",
            "paper B-16": "dafre-128-b16-tiny",
            "hand-set": {**HAND_SET, "id_loss": "softmax", "batch_sampler": "shuffle"},
        },
    }

    @classmethod
    def suggest(cls, trial, scale):
        """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
        return {
            "recipe": cls.RECIPES[scale],
            **_suggest_network(trial, scale),
            **_suggest_loss(trial),
            "batch_sampler": trial.suggest_categorical("batch_sampler", ("shuffle", "balanced")),
            **_suggest_optimization(trial, scale, cls),
            "train_mode_epochs": _suggest_train_mode_epochs(trial),
            **_suggest_jitter(trial, 0.3),
        }


class Moeimouto:
    """Classifiers of moeimouto: backbone, pretraining, batch and image size, optimizer, decay, regularization.

    The baselines are rows of Tables 2 and 4 of the DAF:re paper. The 173 classes have about 80 images each, so this
    space searches regularization where DAF:re's space searches balance and margins.
    """

    RECIPES = {"paper": "moeimouto-128-r18", "tiny": "moeimouto-128-r18-tiny"}
    WEIGHT_DECAYS = {"sgd": (0.0, 2e-3), "adamw": (0.0, 0.5)}
    LONGEST_WARMUP_EPOCHS = {"paper": 10, "tiny": 2}
    MILESTONES = {"paper": (50, 100, 150), "tiny": (3, 5, 7)}
    BASELINES = {
        "paper": {
            "paper R-18": "moeimouto-128-r18",
            "paper SN, 224 px": "moeimouto-224-sn",
            "paper R-18, 224 px": "moeimouto-224-r18",
            "paper L-16, pretrained": "moeimouto-128-l16-pretrained",
        },
        "tiny": {
            "paper R-18": "moeimouto-128-r18-tiny",
            "paper B-16": "moeimouto-128-b16-tiny",
            "hand-set": {**HAND_SET, "erase_probability": 0.0},
        },
    }

    @classmethod
    def suggest(cls, trial, scale):
        """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
        return {
            "recipe": cls.RECIPES[scale],
            **_suggest_network(trial, scale),
            **_suggest_optimization(trial, scale, cls),
            "train_mode_epochs": _suggest_train_mode_epochs(trial),
            "label_smoothing": trial.suggest_categorical("label_smoothing", (0.0, 0.1, 0.2)),
            **_suggest_jitter(trial, 0.4),
            "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
        }


SPACES = {"dafre": DAFre, "moeimouto": Moeimouto}


def _suggest_network(trial, scale):
    """Suggest the backbone, its initial weights, and the batch and image sizes available to it."""
    backbone = trial.suggest_categorical("backbone", (SHALLOW[scale], *RESNETS[scale], *TRANSFORMERS[scale]))
    is_vit, kind = backbone in TRANSFORMERS[scale], "heavy" if backbone in HEAVY else "light"
    settings = {
        "backbone": backbone,
        "channels_last": not is_vit,
        **(IMAGENET if backbone in RESNETS[scale] else HALF),
        "batch_size": trial.suggest_categorical(f"batch_size_of_{kind}", BATCH_SIZES[scale][kind]),
        "image_size": HEAVY_IMAGE_SIZE,
    }
    if kind == "light":
        settings["image_size"] = trial.suggest_categorical("image_size", IMAGE_SIZES[scale])
    if is_vit:
        settings["dropout"] = trial.suggest_float("dropout", 0.0, 0.3)
    if scale == "paper" and backbone != SHALLOW[scale]:
        settings["pretrained"] = trial.suggest_categorical("pretrained", (False, True))
        if settings["pretrained"]:
            settings["frozen_backbone"] = trial.suggest_categorical("frozen_backbone", (False, True))
    return settings


def _suggest_loss(trial):
    """Suggest softmax with label smoothing, or ArcFace with its margin."""
    id_loss = trial.suggest_categorical("id_loss", ("softmax", "arcface"))
    if id_loss == "softmax":
        return {"id_loss": id_loss, "label_smoothing": trial.suggest_categorical("label_smoothing", (0.0, 0.1))}
    return {"id_loss": id_loss, "id_margin": trial.suggest_float("arcface_margin", 0.1, 0.6)}


def _suggest_optimization(trial, scale, space):
    """Suggest the optimizer with its own learning rate and decay, and the schedule."""
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adamw"))
    schedule = trial.suggest_categorical("schedule", ("multistep", "cosine"))
    return {
        "optimizer": optimizer,
        "lr": trial.suggest_float(f"{optimizer}_lr", *LEARNING_RATES[scale][optimizer], log=True),
        "weight_decay": trial.suggest_float(f"{optimizer}_weight_decay", *space.WEIGHT_DECAYS[optimizer]),
        "schedule": schedule,
        "milestones": space.MILESTONES[scale] if schedule == "multistep" else (),
        "warmup_epochs": trial.suggest_int("warmup_epochs", 0, space.LONGEST_WARMUP_EPOCHS[scale]),
    }


def _suggest_train_mode_epochs(trial):
    """Suggest whether dropout and batch statistics stop after the first epoch, as in the paper's code."""
    return trial.suggest_categorical("train_mode_epochs", (None, 1))


def _suggest_jitter(trial, highest):
    """Suggest one strength for all of ColorJitter's; the paper's code uses 0.1."""
    strength = trial.suggest_float("jitter", 0.0, highest)
    return {f"jitter_{part}": strength for part in ("brightness", "contrast", "saturation", "hue")}
