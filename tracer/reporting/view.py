"""``tracer view``: a page on which forecasts are watched like films, written as a folder or served on this machine.

The page is index.html with view.css and view.js; index.js has the list, and films/<n>.js is loaded when a film is
opened, so that a list of ten thousand opens at once. These are scripts that call one function with one string of
JSON: a page that is opened from a folder may load scripts, but no other data. The page puts every text of the data into
the document as text, never as HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from tracer import package_data
from tracer.json_files import write_json
from tracer.lineage.digest import LineageError
from tracer.reporting.films import Film, Reel, reels
from tracer.reporting.gallery import data_uri
from tracer.reporting.links import HOST, PORT
from tracer.settings import ConfigError

MARK = "view.json"
"""The file by which a folder is known as one that ``write`` made."""
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'"


class Library:
    """The films of some folders, in one list."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises ``ConfigError`` for a folder that is not there, or where nothing was evaluated."""
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(f"{folder} is not a folder; name a run (build/demo/seed0) or a step's folder in it")
        self.title = ", ".join(map(str, folders))
        self.entries: list[dict[str, Any]] = []
        self._places: list[tuple[Reel, int]] = []
        for reel in reels(folders):
            found = reel.entries()
            self.entries += found
            self._places += [(reel, number) for number in range(len(found))]
        if not self.entries:
            raise ConfigError(f"{self.title} contains no evaluation; `tracer evaluate offline` makes one")

    def film(self, number: int) -> Film:
        """The film of the entry of that number; of one whose data is gone, why it cannot be shown."""
        reel, place = self._places[number]
        try:
            return reel.film(place)
        except LineageError as error:
            return Film(document={"goal": "", "reason": str(error), "turns": []}, pictures={})

    def page(self) -> Iterator[tuple[str, bytes]]:
        """The files of the page by their names, but for the films."""
        yield "index.html", package_data.path("reporting/templates/view.html").read_bytes()
        yield "view.css", package_data.path("reporting/templates/view.css").read_bytes()
        yield "view.js", package_data.path("reporting/templates/view.js").read_bytes()
        yield "index.js", _call("list", {"title": self.title, "films": self.entries})


def write(folders: Sequence[Path], out: Path) -> int:
    """Write the page and every film into a folder, which can be opened from disk; how many films there are.

    Raises ``LineageError`` for a folder that contains something else.
    """
    library = Library(folders)
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise LineageError(f"{out} holds files that `tracer view` did not write; choose another folder, or empty it")
    for folder in (out / "films", out / "screens"):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(out / MARK, {"films": len(library.entries)})
    for number in range(len(library.entries)):
        film = library.film(number)
        (out / "films" / f"{number}.js").write_bytes(_call("film", {"number": number, **film.document}))
        for name, content in film.pictures.items():
            (out / "screens" / name).write_bytes(content)
    for name, content in library.page():
        (out / name).write_bytes(content)
    return len(library.entries)


def server(folders: Sequence[Path], port: int = PORT) -> ThreadingHTTPServer:
    """A server of the page on this machine alone; port 0 takes a free one. Raises ``LineageError``."""
    library = Library(folders)
    files = dict(library.page())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site's page can make a browser ask this address under a name of its own.
            host = self.headers.get("Host", "").partition(":")[0]
            name = self.path.partition("?")[0].lstrip("/") or "index.html"
            film = re.fullmatch(r"films/(\d{1,9})\.js", name)
            if host not in (HOST, "localhost"):
                self.send_error(403)
            elif name in files:
                self._send(name, files[name])
            elif film and int(film[1]) < len(library.entries):
                found = library.film(int(film[1]))
                pictures = {name: data_uri(each, "image/webp") for name, each in found.pictures.items()}
                shown = {"number": int(film[1]), **found.document, "pictures": pictures}
                self._send(name, _call("film", shown))
            else:
                self.send_error(404)

        def _send(self, name: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", TYPES[name.rpartition(".")[2]])
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: what a browser asks for is no news."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise LineageError(f"port {port} is taken ({error}); choose another one: --port 0 takes a free one") from error


def _call(function: str, value: Any) -> bytes:
    """A script that hands a value over as one string of JSON, which no reading of it can take for code."""
    return f"tracer.{function}({orjson.dumps(orjson.dumps(value).decode()).decode()});\n".encode()
