"""The branch of TransReID: the last block and the final norm, computed for the class token only.

B batch, T tokens, D feature dimension, H heads.
"""

from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional


class ClassTokenBranch(nn.Module):
    """A transformer's last block and final norm, computed for the class token (the first) only.

    The result equals that of the whole block, whose other queries and MLP outputs would be discarded. It saves nearly
    half the work of a network of two blocks.
    """

    def __init__(self, block: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, Block)  # ModuleList does not carry the type
        self.block = block
        self.norm = norm

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """Return the feature of the class token, B x D."""
        block = self.block
        cls_B1D = tokens_BTD[:, :1]
        assert isinstance(block.attn, Attention)
        attended_B1D = class_attention(block.attn, block.norm1(tokens_BTD))
        cls_B1D = cls_B1D + block.drop_path1(block.ls1(attended_B1D))
        cls_B1D = cls_B1D + block.drop_path2(block.ls2(block.mlp(block.norm2(cls_B1D))))
        features_BD: Tensor = self.norm(cls_B1D)[:, 0]
        return features_BD


def class_attention(attention: Attention, tokens_BTD: Tensor) -> Tensor:
    """Return the attention output for the first token, B x 1 x D."""
    batch, _, width = tokens_BTD.shape
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = functional.linear(tokens_BTD[:, :1], weight[:width], None if bias is None else bias[:width])
    both = functional.linear(tokens_BTD, weight[width:], None if bias is None else bias[width:])
    key, value = both.chunk(2, dim=-1)
    query, key, value = (
        part.view(batch, -1, attention.num_heads, attention.head_dim).transpose(1, 2) for part in (query, key, value)
    )
    mixed_BHTD = functional.scaled_dot_product_attention(query, key, value, scale=attention.scale)
    output_B1D: Tensor = attention.proj(mixed_BHTD.transpose(1, 2).reshape(batch, 1, width))
    return output_B1D
