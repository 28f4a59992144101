"""Chat templates that behave as those of well-known models do, with a tokenizer that has their tokens.

Each is short and written for the tests: what matters is what it does to a prompt, not its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.tiny import build_tokenizer


@dataclass(frozen=True)
class Family:
    """Args:
    template: the chat template.
    tokens: special tokens that it writes.
    end: the one that ends the assistant's turn.
    eos: the tokenizer's own end-of-sequence token.
    bos: its first token.
    opens: what the prompt ends in, after the user's turn.
    system: whether a system turn is written as one.
    settings: ``model.chat_template_kwargs`` that go with it.
    """

    template: str
    tokens: tuple[str, ...]
    end: str
    eos: str
    opens: str
    bos: str | None = None
    system: bool = True
    settings: dict[str, Any] = field(default_factory=dict)


def _chatml(assistant: str, opened: str = "") -> str:
    return (
        "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\\n"
        + assistant
        + "' + m.content + '"
        "<|im_end|>\\n' }}{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}" + opened + "{%- endif %}"
    )


_QWEN2 = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{%- endif %}" + _chatml("")
)
# An assistant's turn of the past is written behind an empty thought, which the prompt holds only without thinking.
_QWEN3 = _chatml(
    "<think>\\n\\n</think>\\n\\n",
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}",
)
_LLAMA3 = (
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = 'Be brief.' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system + '<|eot_id|>' }}{%- for m in messages %}"
    "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content|trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
_GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
_GEMMA3 = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- if messages[0]['content'] is string -%}"
    "{%- set first = messages[0]['content'] + '\\n\\n' -%}{%- else -%}"
    "{%- set first = messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}{%- set loop_messages = messages[1:] -%}"
    "{%- else -%}{%- set first = '' -%}{%- set loop_messages = messages -%}{%- endif -%}{%- for m in loop_messages -%}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + (first if loop.first else '') }}"
    "{%- if m['content'] is string -%}{{ m['content'] | trim }}{%- elif m['content'] is iterable -%}"
    "{%- for item in m['content'] -%}{{ item['text'] | trim }}{%- endfor -%}{%- endif -%}{{ '<end_of_turn>\\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"
)
_MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}{%- set rest = messages[1:] %}"
    "{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}{%- for m in rest %}{%- if m['role'] == 'user' %}"
    "{%- if loop.last and system is defined %}{{- '[INST] ' + system + '\\n\\n' + m['content'] + '[/INST]' }}{%- else %}"
    "{{- '[INST] ' + m['content'] + '[/INST]' }}{%- endif %}{%- elif m['role'] == 'assistant' %}"
    "{{- ' ' + m['content'] + eos_token }}{%- else %}{{- raise_exception('Only user and assistant roles') }}{%- endif %}"
    "{%- endfor %}"
)
# A system turn is left out without a word.
_PHI3 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|user|>' + '\\n' + m['content'] + '<|end|>' + '\\n' + '<|assistant|>' + '\\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + '<|end|>' + '\\n' }}{% endif %}{% endfor %}"
)
# The prompt opens a thought; of an assistant's turn of the past only what follows the thought is kept.
_R1 = (
    "{{- bos_token }}{%- for m in messages %}{%- if m['role'] == 'system' %}{{- m['content'] }}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}{%- if m['role'] == 'user' %}{{- '<｜User｜>' + m['content'] }}{%- endif %}"
    "{%- if m['role'] == 'assistant' %}{%- set content = m['content'].split('</think>')[-1] %}"
    "{{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %}{%- endfor -%}"
    "{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}"
)
_PARTS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_CHATML = ("<|im_start|>", "<|im_end|>")
_THINK = (*_CHATML, "<think>", "</think>")
_HEADERS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
_OPEN = "<|im_start|>assistant\n"

FAMILIES: dict[str, Family] = {
    "qwen2.5": Family(_QWEN2, _CHATML, "<|im_end|>", "<|im_end|>", _OPEN),
    "qwen3": Family(_QWEN3, _THINK, "<|im_end|>", "<|im_end|>", _OPEN),
    "qwen3-no-thinking": Family(
        _QWEN3, _THINK, "<|im_end|>", "<|im_end|>", _OPEN + "<think>\n\n</think>\n\n",
        settings={"enable_thinking": False},
    ),
    "llama3": Family(
        _LLAMA3, _HEADERS, "<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>assistant<|end_header_id|>\n\n",
        bos="<|begin_of_text|>",
    ),
    "gemma2": Family(_GEMMA2, _GEMMA, "<end_of_turn>", "<eos>", "<start_of_turn>model\n", bos="<bos>", system=False),
    "gemma3": Family(_GEMMA3, _GEMMA, "<end_of_turn>", "<eos>", "<start_of_turn>model\n", bos="<bos>"),
    "mistral": Family(_MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "</s>", "[/INST]", bos="<s>"),
    "phi3": Family(
        _PHI3, ("<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>", "<|endoftext|>",
        "<|assistant|>\n", bos="<s>", system=False,
    ),
    "deepseek-r1": Family(
        _R1, _DEEPSEEK, "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜Assistant｜><think>\n",
        bos="<｜begin▁of▁sentence｜>",
    ),
    "parts": Family(_PARTS, _CHATML, "<|im_end|>", "<|im_end|>", _OPEN),
}  # fmt: skip


def family_tokenizer(family: Family) -> Any:
    """The tests' small tokenizer with the tokens and the template of a family; it pads with ``<|pad|>``."""
    from transformers import AddedToken

    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in family.tokens])
    tokenizer.eos_token = family.eos
    if family.bos:
        tokenizer.bos_token = family.bos
    tokenizer.chat_template = family.template
    return tokenizer
