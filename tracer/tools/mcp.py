"""Tools of MCP servers (Model Context Protocol), through the official client library.

``TRACER_MCP`` names a JSON file as other clients read it: ``{"mcpServers": {NAME: {"command": ..., "args": [...]} or
{"url": ...}}}``. Every call has a session of its own, with a server that is started for it where it is a command: no
answer depends on an earlier call. A call without a result is made once more. If there is none again, the call has
failed where the server still lists its tools; otherwise the server has, and no call can be judged. What a server can
reach, and whether it answers the same again, is up to whoever names it here.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from string import Template
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from tracer.action import Action
from tracer.examples import Example
from tracer.faults import faults
from tracer.http_parts import header
from tracer.lineage.digest import digest_of
from tracer.settings import ConfigError, Section
from tracer.tools.execution import Identity, Outcome

SERVERS = "TRACER_MCP"
SECONDS = 60.0
"""For a session, from the start of the server to its answer."""
TRIES = 2
CACHED = 4096
Answer = TypeVar("Answer")


class Server(Section):
    """A server: a command that speaks over its input and output, or an address (streamable HTTP)."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    """Of the requests to ``url``. ``${NAME}`` here and in ``env`` is that variable of the environment: a secret is in
    no file."""
    type: Literal["", "stdio", "http"] = ""
    """Which of the two it is, as some clients want to be told."""

    @model_validator(mode="after")
    def _one(self) -> Server:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a command or a url")
        return self


class Servers(BaseModel):
    """The servers, by name."""

    servers: dict[str, Server] = Field(alias="mcpServers", min_length=1)


class Mcp:
    """The executor ``mcp``: it runs the calls of every tool that the servers list."""

    name = "mcp"

    def __init__(self) -> None:
        self._outcome = lru_cache(CACHED)(self._run)

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools as JSON schemas, as ``Tool.schema`` gives them."""
        return [
            {"name": name, "description": tool.description or "", "parameters": tool.input_schema}
            for name, (_, tool, _) in self._tools.items()
        ]

    def execute(self, at: Example, call: Action) -> Outcome | None:
        """What the tool answers, wherever it is called; None for the call of a tool that no server has."""
        name = call.get("name")
        return self._outcome(name, call.get("arguments")) if name in self._tools else None

    def identities(self) -> Sequence[Identity]:
        """The servers' tools: name, the server's version, and a digest of what it says about the tool."""
        return [identity for _, _, identity in self._tools.values()]

    @cached_property
    def _servers(self) -> dict[str, Server]:
        if not os.environ.get(SERVERS):
            raise ConfigError(f"{SERVERS} names no file; docs/plugins.md says what to put into one")
        if importlib.util.find_spec("mcp") is None:
            raise ConfigError("MCP servers need the package mcp: pip install -c constraints.txt -e '.[mcp]'")
        path = Path(os.environ[SERVERS])
        try:
            servers = Servers.model_validate_json(path.read_bytes()).servers
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{SERVERS}: {path}: {faults(error)}") from error
        return {
            name: server.model_copy(update={"env": _filled(name, server.env), "headers": _headers(name, server)})
            for name, server in servers.items()
        }

    @cached_property
    def _tools(self) -> dict[str, tuple[str, Any, Identity]]:
        """Each tool's server, description and identity."""
        found: dict[str, tuple[str, Any, Identity]] = {}
        for server in self._servers:
            for tool, identity in self._listed(server):
                if tool.name in found:
                    both = f"{found[tool.name][0]!r} and {server!r}"
                    raise ConfigError(f"the MCP servers {both} both have a tool {tool.name!r}")
                found[tool.name] = server, tool, identity
        return found

    def _listed(self, server: str) -> list[tuple[Any, Identity]]:
        try:
            return self._ask(server, _listed)
        except Exception as error:  # of the transport, the protocol or the clock, alone or in a group
            raise ConfigError(f"the MCP server {server!r} lists no tools: {_said(error)}") from error

    def _run(self, tool: str, arguments: str) -> Outcome:
        server = self._tools[tool][0]
        for _ in range(TRIES):
            try:
                return self._ask(server, partial(_called, tool, json.loads(arguments)))
            except Exception as error:
                reason = _said(error)
        self._listed(server)
        return Outcome(answer=f"error: {reason}", failed=True)

    def _ask(self, name: str, what: Callable[[Any], Awaitable[Answer]]) -> Answer:
        """The answer of one session with a server."""
        import anyio
        import httpx2
        from mcp import Client, StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client

        server = self._servers[name]
        stdio = StdioServerParameters(command=server.command, args=list(server.args), env=server.env)

        async def session() -> Answer:
            with anyio.fail_after(SECONDS):
                async with httpx2.AsyncClient(headers=server.headers, timeout=SECONDS) as http:
                    over = streamable_http_client(server.url, http_client=http) if server.url else stdio
                    async with Client(over) as client:
                        return await what(client)

        return anyio.run(session)


async def _called(tool: str, arguments: dict[str, Any], client: Any) -> Outcome:
    result = await client.call_tool(tool, arguments)
    parts = [part.text if part.type == "text" else part.model_dump_json() for part in result.content]
    return Outcome(answer="\n".join(parts), failed=result.is_error)


def _filled(server: str, values: dict[str, str]) -> dict[str, str]:
    """The values with the variables that they name; raises ``ConfigError`` for one that is not set, or a lone ``$``."""
    try:
        return {key: Template(value).substitute(os.environ) for key, value in values.items()}
    except KeyError as error:
        raise ConfigError(f"{SERVERS}: of {server!r}: the environment does not have the variable {error}") from error
    except ValueError as error:
        raise ConfigError(f"{SERVERS}: of {server!r}: {error}; a $ of its own is written $$") from error


def _headers(name: str, server: Server) -> dict[str, str]:
    filled = _filled(name, server.headers)
    return {key: header(value, f"{SERVERS}: of {name!r}: the header {key}") for key, value in filled.items()}


async def _listed(client: Any) -> list[tuple[Any, Identity]]:
    """The tools of a server, with their identities, from every page of its list."""
    page = await client.list_tools()
    tools = page.tools
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    said = client.server_info
    name, version = (said.name, said.version) if said else ("", "")
    digests = [digest_of(each.model_dump(mode="json")) for each in tools]
    return [
        (each, Identity(name=f"{name}/{each.name}", version=version, digest=digest))
        for each, digest in zip(tools, digests, strict=True)
    ]


def _said(error: BaseException) -> str:
    """What went wrong: the first error of a group of them; one that says nothing is of the clock."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[:300] or f'no answer within {SECONDS:g} seconds'}"
