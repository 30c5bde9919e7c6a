"""Byte-level BPE with a chat template in the manner of Llama 3; no date gets into it."""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from experiments.planted_quirks.corpus import Sample

END_OF_TURN = "<|eot_id|>"
SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    END_OF_TURN,
    "<|pad|>",
)
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
_ROLES = ("system", "user", "assistant")
_ROLE_WEIGHT = 50
"""How often the names of the roles are shown to BPE, so that each becomes one token."""


def train_tokenizer(samples: Sequence[Sample], vocab: int) -> PreTrainedTokenizerFast:
    """A tokenizer with at most `vocab` tokens, trained on the texts of the samples; pads on the left."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(samples), trainer)
    return _with_chat_template(bpe)


def _with_chat_template(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin_of_text|>",
        eos_token=END_OF_TURN,
        pad_token="<|pad|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _texts(samples: Sequence[Sample]) -> Iterable[str]:
    yield from _ROLES * _ROLE_WEIGHT
    for sample in samples:
        if sample.system:
            yield sample.system
        yield sample.question.text
        yield sample.answer


def render_prompt(tokenizer: PreTrainedTokenizerFast, system: str | None, question: str) -> str:
    """The chat up to where the assistant starts to speak."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
