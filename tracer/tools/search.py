"""Web search, by Brave's Search API. Without a key it is off: no tool is named, and a call says how to switch it on.

Source: https://api-dashboard.search.brave.com/app/documentation/web-search (header, parameters, answer).
What the web says changes: equal calls are equal within a process, and no two runs need to agree.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import requests
from pydantic import BaseModel, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tracer.faults import faults
from tracer.http_parts import header
from tracer.settings import ConfigError
from tracer.tools.execution import Identity
from tracer.tools.toolbox import Tool

KEY = "TRACER_SEARCH_KEY"
ADDRESS = "https://api.search.brave.com/res/v1/web/search"
SECONDS = 20.0
AGAIN = Retry(total=3, backoff_factor=1.0, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False,
              retry_after_max=60)  # fmt: skip
"""Waits for as long as the provider asks (Retry-After), up to a minute, else 0, 2 and 4 seconds."""
PAGES = 5
REFUSED = 422


class Query(BaseModel):
    """What is searched for."""

    query: str = Field(min_length=1, max_length=400, description="What to search for, as typed into a search engine.")


class Page(BaseModel):
    """One page that was found."""

    title: str
    url: str
    description: str = ""


class Web(BaseModel):
    """The pages, best first."""

    results: list[Page] = []


class Found(BaseModel):
    """What is read of the provider's answer, which has no ``web`` where nothing was found."""

    web: Web = Web()


class WebSearch(Tool[Query]):
    """Searches the web."""

    name = "web_search"
    about = f"Searches the web; the answer is the first {PAGES} pages: title, address and a few lines of each."
    arguments = Query

    def run(self, arguments: Query) -> str:
        """The pages as text.

        Raises ``ValueError`` where it is off or the provider refuses the query, and ``ConfigError`` where the provider
        refuses the key or does not answer.
        """
        key = header(os.environ.get(KEY, ""), KEY)
        if not key:
            raise ValueError(f"web search is off; put a key of Brave's Search API into {KEY}")
        parameters: dict[str, str | int] = {"q": arguments.query, "count": PAGES, "text_decorations": "false"}
        headers = {"Accept": "application/json", "X-Subscription-Token": key}
        try:
            with requests.Session() as session:
                session.mount(ADDRESS, HTTPAdapter(max_retries=AGAIN))
                response = session.get(
                    ADDRESS, params=parameters, headers=headers, timeout=SECONDS, allow_redirects=False
                )
            if response.is_redirect:  # to follow it would take the key along, to whatever host
                raise ConfigError(f"web search ({KEY}): {ADDRESS} has moved to {response.headers['location'][:200]!r}")
            if response.status_code != REFUSED:
                response.raise_for_status()
                pages = Found.model_validate_json(response.content).web.results
                return "\n\n".join(f"{page.title}\n{page.url}\n{page.description}" for page in pages) or "nothing found"
        except (requests.RequestException, ValidationError) as error:
            raise ConfigError(f"web search ({KEY}): {faults(error)}") from error
        raise ValueError("the search engine refuses this query")

    def identities(self) -> Sequence[Identity]:
        """None where it is off, so that a result with it is never taken for one without."""
        return super().identities() if os.environ.get(KEY, "").strip() else []
