"""PaddleClas's classifier on iCartoonFace: backbone, crops, batch and image size, margins, optimizer, augmentation.

The baseline is PaddleClas's ResNet50. At tiny scale it has a narrower network and fewer epochs, and there are
hand-picked settings that learn from scratch. No teacher is offered, because it would have to be trained on the same
data.
"""

RECIPES = {"paper": "icartoonface-resnet50", "tiny": "icartoonface-resnet50-tiny"}
BACKBONES = {
    "paper": ("resnet50", "resnet101", "legacy_seresnet50", "legacy_seresnext50"),
    "tiny": ("resnet18_32", "resnet50_16", "resnet50_16_ibn_a"),
}
IMAGE_SIZES = {"paper": (160, 192, 224), "tiny": (32, 48)}
EVALUATED_PART = 7 / 8  # of an image's short side, with resized crops: PaddleClas uses 224 of 256
PX_PER_PAD_PX = 24  # a border of 2 px at 48

BATCH_SIZES = {"paper": (64, 128, 256), "tiny": (32, 64, 128)}
# The ranges cover PaddleClas's SGD at 0.1 for batches of 256.
LEARNING_RATES = {
    "paper": {"sgd": (3e-3, 3e-1), "adamw": (3e-5, 3e-3)},
    "tiny": {"sgd": (3e-3, 3e-1), "adamw": (2e-4, 1e-2)},
}
WEIGHT_DECAYS = {"sgd": (1e-5, 1e-3), "adamw": (1e-3, 0.3)}
LONGEST_WARMUP_EPOCHS = {"paper": 10, "tiny": 2}
MILESTONES = {"paper": (30, 60, 90), "tiny": (3, 5, 7)}


def suggest(trial, scale):
    """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
    return {
        "recipe": RECIPES[scale],
        "backbone": trial.suggest_categorical("backbone", BACKBONES[scale]),
        **_suggest_images(trial, scale),
        **_suggest_loss(trial),
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES[scale]),
        "batch_sampler": trial.suggest_categorical("batch_sampler", ("shuffle", "balanced")),
        **_suggest_optimization(trial, scale),
        "flip_probability": trial.suggest_categorical("flip_probability", (0.0, 0.5)),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
    }


def _suggest_images(trial, scale):
    """Suggest image size and crops: resized crops, evaluated on center crops, or crops of a padded image."""
    image_size = trial.suggest_categorical("image_size", IMAGE_SIZES[scale])
    if trial.suggest_categorical("crops", ("resized", "padded")) == "padded":
        pad_px = image_size // PX_PER_PAD_PX
        return {"image_size": image_size, "pad_px": pad_px, "crop_area": None, "evaluation_px": 0}
    least_area = trial.suggest_float("least_crop_area", 0.08, 0.8)
    evaluation_px = round(image_size / EVALUATED_PART)
    return {"image_size": image_size, "pad_px": 0, "crop_area": (least_area, 1.0), "evaluation_px": evaluation_px}


def _suggest_loss(trial):
    """Suggest softmax with label smoothing, or a loss with its own margin."""
    id_loss = trial.suggest_categorical("id_loss", ("softmax", "arcface", "cosface"))
    if id_loss == "softmax":
        return {"id_loss": id_loss, "label_smoothing": trial.suggest_categorical("label_smoothing", (0.0, 0.1))}
    high = {"arcface": 0.6, "cosface": 0.5}[id_loss]
    return {"id_loss": id_loss, "id_margin": trial.suggest_float(f"{id_loss}_margin", 0.1, high)}


def _suggest_optimization(trial, scale):
    """Suggest the optimizer with its own learning rate and decay, and the schedule."""
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adamw"))
    schedule = trial.suggest_categorical("schedule", ("multistep", "cosine"))
    return {
        "optimizer": optimizer,
        "lr": trial.suggest_float(f"{optimizer}_lr", *LEARNING_RATES[scale][optimizer], log=True),
        "weight_decay": trial.suggest_float(f"{optimizer}_weight_decay", *WEIGHT_DECAYS[optimizer], log=True),
        "schedule": schedule,
        "milestones": MILESTONES[scale] if schedule == "multistep" else (),
        "warmup_epochs": trial.suggest_int("warmup_epochs", 0, LONGEST_WARMUP_EPOCHS[scale]),
    }


BASELINES = {
    "paper": {"paper ResNet50": "icartoonface-resnet50"},
    "tiny": {
        "paper ResNet50": "icartoonface-resnet50-tiny",
        "hand-set": {
            "optimizer": "sgd",
            "schedule": "cosine",
            "backbone": "resnet18_32",
            "image_size": 48,
            "crops": "padded",
            "id_loss": "softmax",
            "label_smoothing": 0.0,
            "batch_size": 64,
            "batch_sampler": "shuffle",
            "sgd_lr": 0.1,
            "sgd_weight_decay": 5e-4,
            "warmup_epochs": 1,
            "flip_probability": 0.0,
            "erase_probability": 0.0,
        },
    },
}
