"""Tools of MCP servers (Model Context Protocol), through the official client library.

``TRACER_MCP`` names a JSON file as other clients read it: ``{"mcpServers": {NAME: {"command": ..., "args": [...]} or
{"url": ...}}}``. Every call has a session of its own, with a server that is started for it where it is a command: no
answer depends on an earlier call. What a server can reach, and whether it answers the same again, is up to whoever
names it here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from tracer.action import Action
from tracer.examples import Example
from tracer.json_files import read_json
from tracer.lineage.digest import digest_of
from tracer.settings import ConfigError, Section
from tracer.tools.execution import Identity, Outcome

SERVERS = "TRACER_MCP"
SECONDS = 60.0
"""After which a server that does not answer has failed."""
CACHED = 4096
Answer = TypeVar("Answer")


class Server(Section):
    """A server: a command that speaks over its input and output, or an address."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    url: str = ""


class Servers(BaseModel):
    """The servers, by name."""

    servers: dict[str, Server] = Field(alias="mcpServers", min_length=1)


class Mcp:
    """The executor ``mcp``: it runs the calls of every tool that the servers list."""

    name = "mcp"

    def __init__(self) -> None:
        self._outcome = lru_cache(CACHED)(self._call)

    def execute(self, at: Example, call: Action) -> Outcome | None:
        """What the tool answers, wherever it is called; None for the call of a tool that no server has."""
        name = call.get("name")
        return self._outcome(name, call.get("arguments")) if name in self._tools else None

    def identities(self) -> Sequence[Identity]:
        """The servers' tools: name, the server's version, and a digest of what it says about the tool."""
        return [identity for _, identity in self._tools.values()]

    @cached_property
    def _servers(self) -> dict[str, Server]:
        if not os.environ.get(SERVERS):
            raise ConfigError(f"{SERVERS} names no file; docs/plugins.md says what to put into one")
        path = Path(os.environ[SERVERS])
        try:
            return Servers.model_validate(read_json(path)).servers
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from error

    @cached_property
    def _tools(self) -> dict[str, tuple[str, Identity]]:
        """Each tool's server and identity."""
        found: dict[str, tuple[str, Identity]] = {}
        for server in self._servers:
            for tool, identity in self._ask(server, _listed):
                if tool in found:
                    raise ConfigError(f"the MCP servers {found[tool][0]!r} and {server!r} both have a tool {tool!r}")
                found[tool] = server, identity
        return found

    def _call(self, tool: str, arguments: str) -> Outcome:
        from mcp import MCPError

        async def called(client: Any) -> Outcome:
            try:
                result = await client.call_tool(tool, json.loads(arguments))
            except MCPError as error:  # the server refuses the call
                return Outcome(answer=f"error: {error}", failed=True)
            parts = [part.text if part.type == "text" else part.model_dump_json() for part in result.content]
            return Outcome(answer="\n".join(parts), failed=result.is_error)

        return self._ask(self._tools[tool][0], called)

    def _ask(self, name: str, what: Callable[[Any], Awaitable[Answer]]) -> Answer:
        try:
            from mcp import Client, StdioServerParameters
        except ImportError as error:
            raise ConfigError("MCP servers need the package mcp: pip install -c constraints.txt -e '.[mcp]'") from error
        server = self._servers[name]
        stdio = StdioServerParameters(command=server.command, args=list(server.args), env=server.env)

        async def session() -> Answer:
            async with asyncio.timeout(SECONDS), Client(server.url or stdio) as client:
                return await what(client)

        try:
            return asyncio.run(session())
        except Exception as error:  # of the transport, the protocol or the clock, alone or in a group
            raise ConfigError(f"the MCP server {name!r} failed: {type(error).__name__}: {error}") from error


async def _listed(client: Any) -> list[tuple[str, Identity]]:
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
        (each.name, Identity(name=f"{name}/{each.name}", version=version, digest=digest))
        for each, digest in zip(tools, digests, strict=True)
    ]
