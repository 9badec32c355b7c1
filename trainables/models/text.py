"""An image's words in the transformer: embed them, and predict the masked ones.

B batch, D feature dimension, L text length, V words.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-12


class WordEmbedding(nn.Module):
    """BERT's input (Devlin et al. 2019): embeddings of word, position and token type, a norm, dropout.

    All three start at N(0, 1), as in Animesion: Hugging Face's `BertEmbeddings` starts so when built outside of BERT.
    """

    def __init__(self, num_words: int, length: int, width: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, width, padding_idx=0)
        self.places = nn.Embedding(length, width)
        self.kind = nn.Parameter(torch.randn(width))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words_BL: Tensor) -> Tensor:
        """Return B x L x D."""
        places_LD = self.places.weight[: words_BL.shape[1]]
        tokens_BLD: Tensor = self.dropout(self.norm(self.words(words_BL) + places_LD + self.kind))
        return tokens_BLD


class TagDecoder(nn.Module):
    """BERT's word prediction: linear, GELU, norm, and the word embeddings as classifier."""

    def __init__(self, num_words: int, width: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=EPS))
        self.bias = nn.Parameter(torch.zeros(num_words))

    def forward(self, tokens_BLD: Tensor, words_VD: Tensor) -> Tensor:
        """Return logits, B x L x V.

        Args:
            words_VD: the word embeddings of the input, which serve as classifier.
        """
        return functional.linear(self.transform(tokens_BLD), words_VD, self.bias)
