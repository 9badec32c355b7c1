"""BERT's word pieces: a fixed vocabulary of parts of words with which Animesion can read an image's tags.

L text length.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from huggingface_hub import hf_hub_download
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from shards_tools.errors import Error

REPOSITORY, FILE_NAME = "google-bert/bert-base-uncased", "vocab.txt"
NUM_PIECES = 30_522  # of bert-base-uncased
# line numbers of BERT's marks, which the model and the masking rely on
PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}


def read_pieces(file: str | None) -> tuple[str, ...]:
    """Read the vocabulary, one piece per line.

    Args:
        file: a vocab.txt in BERT's layout; None: bert-base-uncased's, from the Hugging Face hub or its cache.

    Raises:
        Error: the file cannot be read, or its marks are not on BERT's lines.
    """
    try:
        text = Path(file or hf_hub_download(REPOSITORY, FILE_NAME)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        source = file or f"{FILE_NAME} of {REPOSITORY} on the Hugging Face hub"
        raise Error(
            f"The word pieces {source} could not be read ({type(failure).__name__}). Set vocabulary_file to a copy, or"
            " tokenizer=tags."
        ) from failure
    pieces = tuple(text.rstrip("\n").split("\n"))
    for mark, place in PLACES.items():
        if len(pieces) <= place or pieces[place] != mark:
            found = repr(pieces[place]) if len(pieces) > place else "no line"
            raise Error(
                f"`vocabulary_file={file or FILE_NAME}` has {found} where line {place + 1} should be {mark}. Use a"
                " vocab.txt in the layout of bert-base-uncased."
            )
    return pieces


def read_piece_ids(texts: Sequence[str], pieces: Sequence[str], length: int) -> np.ndarray:
    """Tokenize texts into int64 [num_texts, L]: [CLS], the lower-case pieces that fit, [SEP], padding."""
    tokenizer = BertWordPieceTokenizer({piece: number for number, piece in enumerate(pieces)}, lowercase=True)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return np.array([encoding.ids for encoding in tokenizer.encode_batch(list(texts))], np.int64).reshape(-1, length)
