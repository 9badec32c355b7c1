"""Models, losses and the training loop; needs only torch, timm, numpy and pytorch-metric-learning."""

from trainables.losses.registry import register_id_loss, register_metric_loss
from trainables.recipes.backbones import register_backbone
from trainables.recipes.registry import register_recipe

__all__ = ["register_backbone", "register_id_loss", "register_metric_loss", "register_recipe"]
