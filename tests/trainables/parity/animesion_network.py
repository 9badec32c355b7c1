"""A restatement of the vision transformers of DAF:re (Animesion v1) and of Animesion v2, in plain torch.

Sources: Rios et al. 2021 and 2022, and what their programs do when they run. It shares no code with `trainables`.
B batch, T tokens, D width, K blocks, L text length.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and an MLP, each behind a norm; dropout on the attention's probabilities and on both outputs."""

    def __init__(self, width: int, heads: int, eps: float, attention_dropout: float, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.attention_drop, self.drop = nn.Dropout(attention_dropout), nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        normed = self.norm1(x_BTD)
        q, k, v = (part(normed).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        probabilities = self.attention_drop(torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1))
        x_BTD = x_BTD + self.drop(self.out((probabilities @ v).transpose(1, 2).flatten(2)))
        return x_BTD + self.drop(self.fc2(functional.gelu(self.fc1(self.norm2(x_BTD)))))


class AnimesionNetwork(nn.Module):
    """DAF:re's transformer (eps 1e-6, attention dropout) and Animesion's (eps 1e-12, none), with each of its heads.

    Args:
        head: "norm": a norm and a classifier that starts at 0; "masked": the same at torch's default; "ifa".
        tags: whether hidden tags are guessed: only then do `text_tokens` have a decoder.
    """

    def __init__(
        self, *, width: int, depth: int, heads: int, patch: int, image_size: int, classes: int,
        eps: float, attention_dropout: float, dropout: float = 0.1,
        head: str = "norm", text_tokens: int = 0, words: int = 0, tags: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.empty(1, (image_size // patch) ** 2 + 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, eps, attention_dropout, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps)
        for linear in [part for part in self.blocks.modules() if isinstance(part, nn.Linear)]:
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)
        nn.init.normal_(self.pos, std=0.02)
        # all that follows keeps torch's default start
        self.text = BertInput(words, text_tokens, width, eps, dropout) if text_tokens else None
        self.mix = nn.Linear(depth, 1) if head == "ifa" else None
        self.fc = nn.Linear(width, classes)
        if head == "norm":
            nn.init.zeros_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)
        self.tag_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps)) if tags else None
        self.tag_bias = nn.Parameter(torch.zeros(words)) if tags else None

    def forward(self, images: Tensor, words_BL: Tensor | None = None) -> dict[str, Tensor]:
        patches_BTD = self.patch(images).flatten(2).transpose(1, 2)
        x_BTD = torch.cat([self.cls.expand(len(images), -1, -1), patches_BTD], dim=1) + self.pos
        if self.text is not None and words_BL is not None:
            x_BTD = torch.cat([x_BTD, self.text(words_BL)], dim=1)
        class_tokens = []
        for block in self.blocks:
            x_BTD = block(x_BTD)
            class_tokens.append(x_BTD[:, 0])
        classes_BKD = torch.stack(class_tokens, dim=1)
        mixed_BD = x_BTD[:, 0] if self.mix is None else self.mix(classes_BKD.mT)[..., 0].relu()
        result = {"logits": self.fc(self.norm(mixed_BD)), "class_tokens": classes_BKD}
        if self.tag_head is not None and self.text is not None and words_BL is not None:
            # from the residual stream, before any norm, by the very embeddings that the words came in with
            guessed_BLD = self.tag_head(x_BTD[:, -words_BL.shape[1] :])
            result["word_logits"] = guessed_BLD @ self.text.words.weight.T + self.tag_bias
        return result


class BertInput(nn.Module):
    """BERT's input (Devlin et al. 2019): word, place and kind of token added up, a norm, dropout; all N(0, 1)."""

    def __init__(self, words: int, length: int, width: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        self.places = nn.Embedding(length, width)
        self.kinds = nn.Embedding(2, width)  # of the two only the first is ever read
        self.norm, self.drop = nn.LayerNorm(width, eps), nn.Dropout(dropout)

    def forward(self, words_BL: Tensor) -> Tensor:
        x_BLD = self.words(words_BL) + self.kinds.weight[0] + self.places.weight[: words_BL.shape[1]]
        return self.drop(self.norm(x_BLD))
