"""Text from a screen, a goal or a tool is data: no control token may arise from it in a prompt or an answer.

A tokenizer takes ``<|im_end|>`` for the end of a turn wherever it stands, so that a page could speak as the user, and a
processor takes ``<image>`` for a picture that is not there. So the first character of such a text is written as JSON
writes it: ``\\u003cimage>``. Where an answer copies it into a quoted text, reading it undoes that. Other text stays
as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_TAGS = (
    "image video audio think tool_call tool_response tools tool s unk pad bos eos mask cls sep end_of_utterance "
    "start_of_turn end_of_turn start_of_image end_of_image image_soft_token fake_token_around_image "
    "repo_name reponame file_sep filename gh_stars issue_start issue_comment issue_closed jupyter_start jupyter_text "
    "jupyter_code jupyter_output jupyter_script empty_output"
)
_KNOWN = rf"<[|｜][^\s<>]+[|｜]>|</?(?:{'|'.join(_TAGS.split())})>|\[/?(?:INST|IMG|SYSTEM_PROMPT)\]|<</?SYS>>"
"""The forms that models' vocabularies use, and those names that look like any tag."""


def escaped(text: str, tokens: Iterable[str] = ()) -> str:
    """The text without control tokens: those of the known models, and the ``tokens`` of the one that reads it."""
    return _pattern(tuple(tokens)).sub(lambda found: f"\\u{ord(found[0][0]):04x}{found[0][1:]}", text)


def control_tokens(processor: Any) -> tuple[str, ...]:
    """The texts that a processor's tokenizer, or the processor itself, takes for more than text.

    Added words that are no markup, such as runs of blanks, are text.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    added = tokenizer.added_tokens_decoder.values()
    placeholders = (getattr(processor, name, None) for name in ("image_token", "video_token", "audio_token"))
    found = {token.content for token in added if token.special or re.search(r"[<\[{].*[>\]}]", token.content)}
    return tuple(sorted(found | {each for each in placeholders if each}))


@lru_cache(maxsize=16)
def _pattern(tokens: tuple[str, ...]) -> re.Pattern[str]:
    # The longest first: of two that begin alike, the shorter would leave the rest of the longer.
    own = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, own), _KNOWN]))
