"""The tool that looks at a picture and answers a question about it, by a served vision model.

``TRACER_VISION`` names the model, as openai:http://HOST:PORT/v1#MODEL. Weights that change under one name are not
noticed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pydantic import Field

from tracer.planner import address
from tracer.planner.served import api_key, ask, client, data_url
from tracer.tools.execution import Identity
from tracer.tools.files import FileTool, by_content
from tracer.tools.images import Picture, part, png
from tracer.trajectory import State

MODEL = "TRACER_VISION"
MOST_TOKENS = 512


class Question(Picture):
    """What is asked about which picture."""

    question: str = Field(default="Describe this picture.", max_length=2000, description="A question about it.")


class DescribeImage(FileTool[Question]):
    """Asks about each picture and question once. It also runs MM-Traj's calls of ``visualizer``."""

    name = "describe_image"
    recorded = ("visualizer",)
    about = "Looks at a picture, or a part of one, and answers a question about it."
    arguments = Question

    def run(self, arguments: Question) -> str:
        """The model's answer.

        Raises ``ValueError`` where it is off or there is no such picture, ``ConfigError`` for an address that is none,
        and ``ServerError`` where the server does not answer.
        """
        if not _model():
            raise ValueError(f"no model looks at pictures; name one in {MODEL}, as openai:http://HOST:PORT/v1#MODEL")
        return str(_said(png(part(arguments.path)), arguments.question, _model()))

    def version(self) -> str:
        """Of tracer, and which model it is."""
        return f"{super().version()}, {address.parse(_model()).name}"

    def identities(self) -> Sequence[Identity]:
        """None where it is off."""
        return super().identities() if _model() else []


def _model() -> str:
    return os.environ.get(MODEL, "").strip()


@by_content
def _said(image: bytes, question: str, model: str) -> str:
    endpoint = address.parse(model)
    shown = {"type": "image_url", "image_url": {"url": data_url(State(goal=question, image=image))}}
    request = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": [shown, {"type": "text", "text": question}]}],
        "max_tokens": MOST_TOKENS,
        "temperature": 0.0,
    }
    answer = ask(client(endpoint, api_key()), endpoint.name, request)
    return (answer.choices[0].message.content or "").strip()
