"""Current backbones on cross-role retrieval: fine-tuned depth, AdamW, margins, metric losses, weight averaging.

No paper has rows for them. The baselines are the family's recipes; at tiny scale with narrower networks and fewer
epochs, plus hand-picked settings that learn from scratch.
"""

RECIPES = {"paper": "open-dinov2-base", "tiny": "open-dinov2-base-tiny"}
IMAGENET = {"pixel_mean": (0.485, 0.456, 0.406), "pixel_std": (0.229, 0.224, 0.225)}
HALF = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.5, 0.5, 0.5)}
CLIP = {
    "pixel_mean": (0.48145466, 0.4578275, 0.40821073),
    "pixel_std": (0.26862954, 0.26130258, 0.27577711),
}
# Backbone -> patch size in px, and the normalization that its weights were trained with.
BACKBONES = {
    "paper": {
        "dinov2_small": (14, IMAGENET),
        "dinov2_base": (14, IMAGENET),
        "dinov3_small": (16, IMAGENET),
        "dinov3_base": (16, IMAGENET),
        "dinov3_convnext_base": (16, IMAGENET),
        "siglip2_base": (16, HALF),
        "convnext_base": (16, IMAGENET),
        "eva02_base": (14, CLIP),
        "wd_vit_tagger": (16, HALF),
        "wd_convnext_tagger": (16, HALF),
        "wd_eva02_large_tagger": (14, HALF),
    },
    "tiny": {
        "dinov2_tiny": (8, IMAGENET),
        "dinov3_tiny": (8, IMAGENET),
        "siglip2_tiny": (8, HALF),
        "eva02_tiny": (8, CLIP),
        "wd_vit_tiny": (8, HALF),
        "convnext_tiny": (8, IMAGENET),
    },
}
# A ConvNeXt accepts any size; here it uses the sizes of 16 px patches.
IMAGE_SIZES = {14: (224, 280), 16: (224, 256, 288), 8: (32, 48, 64)}
# Zero border before the random crop; the recipes use 10 px at any size.
PAD_PX = {"paper": 10, "tiny": 2}

IMAGES_PER_BATCH = 64
LEARNING_RATES = {"paper": (1e-5, 1e-3), "tiny": (1e-4, 1e-2)}
FROZEN_LEARNING_RATES = (1e-4, 3e-2)  # of the head, with a frozen backbone
EMA_DECAYS = {"paper": (None, 0.99, 0.999, 0.9999), "tiny": (None, 0.9, 0.99, 0.999)}


def suggest(trial, scale):
    """Return the settings of one trial at `scale`: a recipe and the keys that differ from it."""
    backbone = trial.suggest_categorical("backbone", tuple(BACKBONES[scale]))
    patch_px, normalization = BACKBONES[scale][backbone]
    works_per_batch = trial.suggest_categorical("works_per_batch", (4, 8, 16))
    return {
        "recipe": RECIPES[scale],
        "backbone": backbone,
        "channels_last": "convnext" in backbone,
        **normalization,
        "image_size": trial.suggest_categorical(f"image_size_at_patch_{patch_px}", IMAGE_SIZES[patch_px]),
        "pad_px": PAD_PX[scale],
        **_suggest_depth(trial, scale),
        **_suggest_id_loss(trial),
        **_suggest_metric_loss(trial),
        "works_per_batch": works_per_batch,
        "images_per_work": IMAGES_PER_BATCH // works_per_batch,
        "batch_sampler": trial.suggest_categorical("batch_sampler", ("full", "papers", "cross_role")),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.3, log=True),
        "ema_decay": trial.suggest_categorical("ema_decay", EMA_DECAYS[scale]),
        "flip_probability": trial.suggest_categorical("flip_probability", (0.0, 0.5)),
        "erase_probability": trial.suggest_float("erase_probability", 0.0, 0.8),
    }


def _suggest_depth(trial, scale):
    """Suggest whether the backbone is frozen; if not, how much lower each layer's learning rate is than the next."""
    if scale == "paper" and trial.suggest_categorical("frozen_backbone", (False, True)):
        lr = trial.suggest_float("lr_of_frozen", *FROZEN_LEARNING_RATES, log=True)
        return {"frozen_backbone": True, "lr": lr, "drop_path": 0.0, "layer_lr_decay": 1.0}
    return {
        "lr": trial.suggest_float("lr", *LEARNING_RATES[scale], log=True),
        "layer_lr_decay": trial.suggest_float("layer_lr_decay", 0.5, 1.0),
        "drop_path": trial.suggest_float("drop_path", 0.0, 0.3),
    }


def _suggest_id_loss(trial):
    """Suggest softmax with label smoothing, or a loss with its own margin."""
    id_loss = trial.suggest_categorical("id_loss", ("softmax", "arcface", "cosface", "circle"))
    if id_loss == "softmax":
        return {"id_loss": id_loss, "label_smoothing": trial.suggest_categorical("label_smoothing", (0.0, 0.1))}
    high = {"arcface": 0.6, "cosface": 0.5, "circle": 0.5}[id_loss]
    margin = trial.suggest_float(f"id_{id_loss}_margin", 0.1, high)
    return {"id_loss": id_loss, "label_smoothing": 0.0, "id_margin": margin}


def _suggest_metric_loss(trial):
    """Suggest the loss between images and its weight, with the margin of circle or the temperature of supcon."""
    metric_loss = trial.suggest_categorical("metric_loss", ("soft_triplet", "circle", "supcon"))
    settings = {"metric_loss": metric_loss, "metric_weight": trial.suggest_float("metric_weight", 0.1, 2.0, log=True)}
    if metric_loss == "circle":
        settings["metric_margin"] = trial.suggest_float("metric_circle_margin", 0.1, 0.4)
    if metric_loss == "supcon":
        settings["temperature"] = trial.suggest_float("temperature", 0.03, 0.3, log=True)
    return settings


BASELINES = {
    "paper": {
        "DINOv2-B": "open-dinov2-base",
        "DINOv3-B": "open-dinov3-base",
        "WD ViT tagger": "open-wd-vit-tagger",
    },
    "tiny": {
        "DINOv2-B": "open-dinov2-base-tiny",
        "DINOv3-B": "open-dinov3-base-tiny",
        "hand-set": {
            "backbone": "convnext_tiny",
            "image_size_at_patch_8": 64,
            "works_per_batch": 16,
            "drop_path": 0.0,
            "layer_lr_decay": 1.0,
            "id_loss": "softmax",
            "label_smoothing": 0.0,
            "metric_loss": "soft_triplet",
            "metric_weight": 1.0,
            "batch_sampler": "full",
            "lr": 2e-3,
            "weight_decay": 0.05,
            "ema_decay": None,
            "flip_probability": 0.0,
            "erase_probability": 0.0,
        },
    },
}
