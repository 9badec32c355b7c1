"""Plain reimplementations of TransReID and AGW as in their authors' code: models, losses and the step.

Attention is written out, each local branch passes through a whole block, unused blocks are kept, every weight is its
own parameter group, and on a GPU the step is float16 with a scaled loss.

B batch, T tokens, D feature dimension, H heads, C channels, H W height and width of a map, P all its positions, N
works.
"""

import copy
import re
from typing import Any

import timm
import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.triplet import weighted_triplet_as_agw
from trainables.recipes.backbones import Transformer, get_backbone

NORM_EPS = 1e-6
IMAGENET_CLASSES = 1000
SMOOTHING = 0.1
NON_LOCAL_AFTER = {"layer2": (512, (2, 3)), "layer3": (1024, (3, 4, 5))}  # stage -> channels, blocks
NON_LOCAL_REDUCTION = 16


class Attention(nn.Module):
    """Self-attention that materializes the T x T weights of every head."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.scale = num_heads, (width // num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """Map B x T x D to B x T x D."""
        batch, length, width = tokens_BTD.shape
        parts = self.qkv(tokens_BTD).reshape(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        # under autocast the softmax is float32 and the products are float16
        weights_BHTT = (query @ key.transpose(-2, -1) * self.scale).softmax(dim=-1)
        mixed_BTD = (weights_BHTT @ value).transpose(1, 2).reshape(batch, length, width)
        output_BTD: Tensor = self.proj(mixed_BTD)
        return output_BTD


class Block(nn.Module):
    """Attention and MLP, each after a norm and with a residual connection."""

    def __init__(self, shape: Transformer, drop_path: float) -> None:
        super().__init__()
        inner = int(shape.width * shape.mlp_ratio)
        self.norm1, self.norm2 = (nn.LayerNorm(shape.width, eps=NORM_EPS) for _ in range(2))
        self.attn = Attention(shape.width, shape.num_heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(shape.width, inner), "fc2": nn.Linear(inner, shape.width)})
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """Map B x T x D to B x T x D."""
        tokens_BTD = tokens_BTD + self.drop_path(self.attn(self.norm1(tokens_BTD)))
        inner = functional.gelu(self.mlp["fc1"](self.norm2(tokens_BTD)))
        output_BTD: Tensor = tokens_BTD + self.drop_path(self.mlp["fc2"](inner))
        return output_BTD


class Trunk(nn.Module):
    """The transformer, of which the last block, the norm and the classifier are unused weights."""

    def __init__(self, recipe: Any, shape: Transformer) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, shape.width, shape.patch_px, stride=recipe.stride_px)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, recipe.num_patches + 1, shape.width))
        rates = torch.linspace(0, recipe.drop_path, shape.depth).tolist()
        self.blocks = nn.ModuleList(Block(shape, rate) for rate in rates)
        self.norm = nn.LayerNorm(shape.width, eps=NORM_EPS)
        self.fc = nn.Linear(shape.width, IMAGENET_CLASSES)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return all tokens before the last block, B x T x D."""
        patches_BTD = self.patch_embed(images_BCHW).flatten(2).transpose(1, 2)
        cls_BTD = self.cls_token.expand(len(patches_BTD), -1, -1)
        tokens_BTD = torch.cat([cls_BTD, patches_BTD], dim=1) + self.pos_embed
        for block in self.blocks[:-1]:
            tokens_BTD = block(tokens_BTD)
        return tokens_BTD


class Heads(nn.Module):
    """A neck and a classifier per branch."""

    def __init__(self, width: int, num_branches: int, num_works: int) -> None:
        super().__init__()
        self.necks = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(num_branches))
        self.classifiers = nn.ModuleList(nn.Linear(width, num_works, bias=False) for _ in range(num_branches))
        for neck in self.necks:
            neck.bias.requires_grad_(False)
        for weight in self.classifiers.parameters():
            nn.init.normal_(weight, std=0.001)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return the logits of each branch, B x N."""
        branches = zip(self.necks, self.classifiers, features, strict=True)
        return [classifier(neck(feature_BD)) for neck, classifier, feature_BD in branches]


class UpstreamTransReID(nn.Module):
    """TransReID (He et al. 2021, arXiv 2102.04378) with JPM and without side information."""

    # our model's weight names -> the names here
    NAMES = (
        (r"^head\.", "heads."),
        (r"^backbone\.global_branch\.block\.", "b1.0."),
        (r"^backbone\.global_branch\.norm\.", "b1.1."),
        (r"^backbone\.local_branch\.block\.", "b2.0."),
        (r"^backbone\.local_branch\.norm\.", "b2.1."),
        (r"^backbone\.patch_embed\.proj\.", "base.patch_embed."),
        (r"^backbone\.trunk\.", "base.blocks."),
        (r"^backbone\.", "base."),
    )
    DEAD = ("base.blocks.11.", "base.norm.", "base.fc.")

    def __init__(self, recipe: Any, num_works: int) -> None:
        super().__init__()
        shape = get_backbone(recipe.backbone)
        assert isinstance(shape, Transformer)
        self.base = Trunk(recipe, shape)
        last = nn.Sequential(self.base.blocks[-1], self.base.norm)
        self.b1, self.b2 = copy.deepcopy(last), copy.deepcopy(last)
        self.shift, self.groups, self.parts = recipe.jpm_shift, recipe.jpm_groups, recipe.jpm_parts
        self.heads = Heads(shape.width, 1 + recipe.jpm_parts, num_works)

    def forward(self, images_BCHW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits and features of each branch, the global one first."""
        tokens_BTD = self.base(images_BCHW)
        cls_BTD, length = tokens_BTD[:, :1], (tokens_BTD.shape[1] - 1) // self.parts
        features = [self.b1(tokens_BTD)[:, 0]]
        shuffled_BTD = self._shuffle(tokens_BTD)
        for part in range(self.parts):
            own_BTD = shuffled_BTD[:, part * length : (part + 1) * length]
            features.append(self.b2(torch.cat([cls_BTD, own_BTD], dim=1))[:, 0])
        return self.heads(features), features

    def _shuffle(self, tokens_BTD: Tensor) -> Tensor:
        shifted_BTD = torch.cat([tokens_BTD[:, self.shift :], tokens_BTD[:, 1 : self.shift]], dim=1)
        if shifted_BTD.shape[1] % self.groups:
            shifted_BTD = torch.cat([shifted_BTD, shifted_BTD[:, -2:-1]], dim=1)
        batch, _, width = shifted_BTD.shape
        return shifted_BTD.view(batch, self.groups, -1, width).transpose(1, 2).contiguous().view(batch, -1, width)

    @staticmethod
    def loss(scores: list[Tensor], features: list[Tensor], works_B: Tensor) -> Tensor:
        """Return cross-entropy and soft-margin triplet loss, each half from the global branch."""
        total = scores[0].new_zeros(())
        for losses in (
            [functional.cross_entropy(scores_BN, works_B) for scores_BN in scores],
            [hard_triplet(features_BD, works_B) for features_BD in features],
        ):
            total = total + 0.5 * losses[0] + 0.5 * torch.stack(losses[1:]).mean()
        return total


class NonLocal(nn.Module):
    """The non-local block in dot product form, with a P x P matrix."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // NON_LOCAL_REDUCTION
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return a map of the same shape."""
        theta_BCP, phi_BCP, g_BCP = (part(map_BCHW).flatten(2) for part in (self.theta, self.phi, self.g))
        pairs_BPP = theta_BCP.permute(0, 2, 1) @ phi_BCP
        mixed_BPC = pairs_BPP / pairs_BPP.shape[-1] @ g_BCP.permute(0, 2, 1)
        mixed_BCHW = mixed_BPC.permute(0, 2, 1).contiguous().unflatten(2, map_BCHW.shape[2:])
        looked_BCHW: Tensor = self.W(mixed_BCHW) + map_BCHW
        return looked_BCHW


class UpstreamAGW(nn.Module):
    """AGW (Ye et al. 2021, arXiv 2001.04193) on ResNet50, with the inner channels of LSASRD's non-local blocks."""

    NAMES = (
        (r"^head\.", "heads."),
        (r"^backbone\.network\.(layer\d)\.blocks\.", r"network.\1."),
        (r"^backbone\.network\.(layer\d)\.non_local\.(\d)\.", r"non_local.\1_\2."),
        (r"^backbone\.pooling\.", ""),
        (r"^backbone\.", ""),
    )
    DEAD = ()

    def __init__(self, recipe: Any, num_works: int) -> None:
        super().__init__()
        network: Any = timm.create_model(recipe.backbone, num_classes=0, global_pool="")
        first = network.layer4[0]
        first.conv2.stride = first.downsample[0].stride = (1, 1)
        self.network = network
        blocks = {f"{stage}_{place}": NonLocal(width) for stage, (width, at) in NON_LOCAL_AFTER.items() for place in at}
        self.non_local = nn.ModuleDict(blocks)
        self.p = nn.Parameter(torch.tensor([3.0]))
        self.heads = Heads(2048, 1, num_works)

    def forward(self, images_BCHW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits and features of the single branch."""
        network: Any = self.network
        # upstream's code has no activation after the first norm
        map_BCHW = network.maxpool(network.bn1(network.conv1(images_BCHW)))
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            for place, block in enumerate(getattr(network, stage)):
                map_BCHW = block(map_BCHW)
                if f"{stage}_{place}" in self.non_local:
                    map_BCHW = self.non_local[f"{stage}_{place}"](map_BCHW)
        powers_BC11 = functional.adaptive_avg_pool2d(map_BCHW.clamp(min=1e-6).pow(self.p), 1)
        features = [powers_BC11.pow(1 / self.p).flatten(1)]
        return self.heads(features), features

    @staticmethod
    def loss(scores: list[Tensor], features: list[Tensor], works_B: Tensor) -> Tensor:
        """Return cross-entropy with smoothed targets, and the weighted regularized triplet."""
        return smoothed_cross_entropy(scores[0], works_B) + weighted_triplet_as_agw(features[0], works_B)


def smoothed_cross_entropy(scores_BN: Tensor, works_B: Tensor) -> Tensor:
    """Return the cross-entropy with targets that are built on the CPU."""
    logarithms_BN = scores_BN.log_softmax(dim=1)
    targets_BN = torch.zeros(scores_BN.shape).scatter_(1, works_B[:, None].cpu(), 1).to(scores_BN.device)
    targets_BN = (1 - SMOOTHING) * targets_BN + SMOOTHING / scores_BN.shape[1]
    return (-targets_BN * logarithms_BN).mean(0).sum()


def hard_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Return the soft-margin triplet loss of the farthest positive and the nearest negative, from all distances."""
    squares_B = features_BD.pow(2).sum(dim=1)
    squares_BB = squares_B[:, None] + squares_B - 2 * (features_BD @ features_BD.t())
    distances_BB = squares_BB.clamp(min=1e-12).sqrt()
    same_BB = works_B[:, None] == works_B
    farthest_B = distances_BB[same_BB].view(len(works_B), -1).amax(dim=1)
    nearest_B = distances_BB[~same_BB].view(len(works_B), -1).amin(dim=1)
    return functional.soft_margin_loss(nearest_B - farthest_B, torch.ones_like(nearest_B))


Upstream = UpstreamTransReID | UpstreamAGW
UPSTREAM: dict[str, type[Upstream]] = {"transreid": UpstreamTransReID, "agw": UpstreamAGW}


class UpstreamStep:
    """Forward, loss, backward and SGD; on a GPU in float16 with a scaled loss, so that no gradient vanishes."""

    def __init__(self, recipe: Any, model: Upstream, device: torch.device) -> None:
        self._model, self._device, self._on_gpu = model, device, device.type == "cuda"
        weights = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        lrs = [recipe.lr * (recipe.bias_lr_factor if "bias" in name else 1) for name, _ in weights]
        groups = [{"params": [weight], "lr": lr} for (_, weight), lr in zip(weights, lrs, strict=True)]
        decay = recipe.weight_decay
        self._optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=decay)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._on_gpu)

    def __call__(self, images_BCHW: Tensor, works_B: Tensor) -> float:
        """Train on one batch with the cuDNN settings of LSASRD's code; return its loss."""
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True):
            self._optimizer.zero_grad()
            with torch.autocast(self._device.type, dtype=torch.float16, enabled=self._on_gpu):
                scores, features = self._model(images_BCHW)
                loss = self._model.loss(scores, features, works_B)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self._optimizer)
            self._scaler.update()
            return loss.item()


def upstream_name(peer: Upstream, name: str) -> str:
    """Return the peer's name for a weight of our model."""
    found = (re.subn(pattern, replacement, name) for pattern, replacement in peer.NAMES)
    return next(new_name for new_name, num_changes in found if num_changes)


def take_weights(peer: Upstream, states: dict[str, Tensor]) -> None:
    """Load all weights of our model into the peer; only its unused weights keep their values."""
    found = peer.load_state_dict({upstream_name(peer, name): value for name, value in states.items()}, strict=False)
    left = [*found.unexpected_keys, *(name for name in found.missing_keys if not name.startswith(peer.DEAD))]
    if left:
        raise KeyError(f"Only one of {type(peer).__name__} and our model has {', '.join(left)}.")
