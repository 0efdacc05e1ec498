"""A small causal language model with random weights and a tokenizer trained on the spot; nothing is downloaded.

Byte-level BPE with ChatML; the fixed pieces of tool calls and answers are tokens of their own, so that a small model spends its
few tokens on what it has to decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from turnwise.trainers.placement import placed

__all__ = ["Scratch"]

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_TAGS = [
    *('<tool_call>{"name": "', '", "arguments": {"', '": "', '"}}</tool_call>', '", "', '": ', "}}</tool_call>"),
    *("<tool_call>", "</tool_call>", "<answer>", "</answer>"),
]
_ROLES = ["user", "assistant", "tool"]
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A Qwen3 architecture of any size, initialised from the seed."""

    hidden: int = 96
    layers: int = 3
    heads: int = 4
    mlp: int = 256
    vocabulary: int = 1024
    """Most entries of the tokenizer, special tokens included."""
    context: int = 1024
    """Most tokens of a conversation."""
    dtype: str = "float32"
    """"float32" or "bfloat16" (the optimiser then keeps float32 masters)."""
    device: str = "cpu"

    def build(self, corpus: Iterable[str], seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        tokenizer = _tokenizer(corpus, self.vocabulary)
        config = self.config(len(tokenizer))
        config.eos_token_id = cast(int, tokenizer.convert_tokens_to_ids("<|im_end|>"))
        config.pad_token_id = cast(int, tokenizer.convert_tokens_to_ids("<|endoftext|>"))
        model = Qwen3ForCausalLM(config)
        _initialise(model, seed)
        return placed(model, self.dtype, self.device), tokenizer

    def skeleton(self) -> PreTrainedModel:
        """The model on PyTorch's "meta" device: its shapes at the largest vocabulary, without weights."""
        with torch.device("meta"):
            return placed(Qwen3ForCausalLM(self.config(self.vocabulary)).eval(), self.dtype, "meta")

    def config(self, vocabulary: int) -> Qwen3Config:
        """The architecture for that many tokens."""
        return Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            head_dim=self.hidden // self.heads,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            bos_token_id=None,
        )


def _initialise(model: torch.nn.Module, seed: int) -> None:
    """Draw every weight from a generator of our own: the global one is nobody's to seed.

    Blocks start as the identity (their output projections are 0) and embeddings are of the size of a hidden state, so that
    from the first step on a token's identity is what the residual stream carries: a small model learns to copy much sooner.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(0.0 if "bias" in name else 1.0)
            elif "o_proj" in name or "down_proj" in name:
                parameter.zero_()
            else:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)


def _tokenizer(corpus: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    # A word takes the space after it, not the one before: a name is tokenised alike after a space and after a quote, so that
    # copying it is copying ids, and neighbouring words are neighbouring tokens.
    words = pre_tokenizers.Split(Regex(r"\d|[^\W\d]+ ?|\W+"), "isolated")
    parts = [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    core.pre_tokenizer = pre_tokenizers.Sequence(parts)
    core.decoder = decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=size - len(_TAGS),
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_without_tags(corpus), learner)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=["<|im_start|>"]
    )
    tokenizer.add_tokens(_TAGS)
    tokenizer.chat_template = _CHATML
    return tokenizer


def _without_tags(corpus: Iterable[str]) -> Iterable[str]:
    for text in corpus:
        for tag in _TAGS:
            text = text.replace(tag, "\n")
        yield text
        yield from _ROLES  # every message opens with one of these words: worth a token each
