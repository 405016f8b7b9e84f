"""The libraries that some configs of the zoo need beside mmdet, from the folder of peers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

FOLDER = Path(os.environ.get('MMBLOCKS_PEERS', Path(__file__).parents[2] / '.peers'))
# As long as it lives, its schemas do.
_TORCHVISION = torch.library.Library('torchvision', 'FRAGMENT')
# What a caption of the zoo's inputs is made of, and BERT's own tokens.
_WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', '?', 'one', 'two', 'three')


def add_peers() -> None:
    """Makes mmpretrain, transformers and the trackers' libraries importable, where they are there.

    There is no CPU build of torchvision, which mmpretrain imports: the schemas of its operators are
    declared before.
    """
    sys.path += [str(FOLDER), str(FOLDER / 'zoo')]
    if (FOLDER / 'torchvision').is_dir():
        _TORCHVISION.define('nms(Tensor x) -> Tensor')
        _TORCHVISION.define('qnms(Tensor x) -> Tensor')


def write_language_model(folder: Path) -> Path:
    """Writes a small random BERT with a tokenizer of a few words, in place of a download.

    Args:
        folder: Where to write it.

    Returns:
        The folder, which is empty if transformers is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        from transformers import BertConfig, BertModel, BertTokenizerFast
    except ImportError:
        return folder
    vocabulary = folder / 'vocab.txt'
    vocabulary.write_text('\n'.join(_WORDS))
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(_WORDS),
        hidden_size=768,  # what the heads of GLIP and Grounding DINO are made for
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=12,
    )
    BertModel(config).save_pretrained(folder)
    return folder
