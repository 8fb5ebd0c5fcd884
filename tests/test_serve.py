"""`caviar report --serve`: a page that follows its study, on this machine's loopback alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from caviar.base.errors import UserError
from caviar.pages.serve import HOST, Followed, Server, followed_study
from caviar.search.settings import VERDICT
from caviar.space import Space
from conftest import Main
from made_studies import LR, made

PAGE = """<!doctype html><html><head>
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'">
</head><body style="height:5000px"><input id="filter" type="search">
<details><summary>more</summary><select><option>a<option>b</select></details><p>{}</p></body></html>"""


class Written:
    """A page with one word on it, which is rendered when the word is another."""

    def __init__(self, folder: Path) -> None:
        self.path, self.word, self.rendered = folder / "report.html", "first", 0

    def render(self) -> Path:
        self.rendered += 1
        self.path.write_text(PAGE.format(self.word), encoding="utf-8")
        return self.path

    def followed(self) -> Followed:
        return Followed(self.render, lambda: self.word, lambda: self.word == "end")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def ask(server: Server, path: str = "/", host: str | None = None) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection(HOST, int(server.address.split(":")[-1].rstrip("/")), timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def last(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(ask(server, "/last")[1])
    return answer


def looked(server: Server) -> None:
    """Look at once, without waiting for as long as a page may rest."""
    server._next = 0.0
    server.look()


def test_it_is_rendered_again_only_when_the_study_has_changed(written: Written) -> None:
    with Server(written.followed(), free_port()) as server:
        answer, text = ask(server)
        assert (answer.status, "<p>first</p>" in text) == (200, True)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        for _ in range(3):
            looked(server)
        assert (written.rendered, last(server)) == (1, {"version": 1, "ended": False})
        written.word = "second"
        looked(server)
        assert "<p>second</p>" in ask(server)[1]
        assert (written.rendered, last(server)["version"]) == (2, 2)
        written.word = "end"
        looked(server)
        assert last(server) == {"version": 3, "ended": True}


def test_the_served_page_may_ask_its_server_alone_and_the_file_stays_as_it_was(
    written: Written,
) -> None:
    with Server(written.followed(), free_port()) as server:
        text = ask(server)[1]
    assert "default-src 'none'; connect-src 'self'; style-src" in text
    assert "http:" not in text.replace("http-equiv", "")
    assert written.path.read_text() == PAGE.format("first")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{}", "0.0.0.0:{}", "127.0.0.1"])
def test_another_name_than_the_loopbacks_is_refused(written: Written, host: str) -> None:
    """A page from elsewhere whose name leads here sends its own name."""
    port = free_port()
    with Server(written.followed(), port) as server:
        for path in ("/", "/last"):
            answer, text = ask(server, path, host.format(port))
            assert (answer.status, "first" in text) == (403, False)
        assert ask(server, "/", f"localhost:{port}")[0].status == 200
        assert ask(server, "/../train.py")[0].status == 404
        assert server._http.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken(written: Written) -> None:
    port = free_port()
    with Server(written.followed(), port):
        with pytest.raises(UserError, match=f"--port {port}: .*; name another, or leave"):
            Server(written.followed(), port)
        with Server(written.followed()) as one, Server(written.followed()) as other:
            assert one.address != other.address  # the usual one is taken by then: any other


def test_a_page_that_cannot_be_written_leaves_the_last_one(
    written: Written, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(["out of reach", "out of reach", "again"])

    def mark() -> str:
        word = next(looks, None)
        if word is None:
            raise KeyboardInterrupt
        if word == "out of reach":
            raise UserError("the ledger is out of reach")
        return word

    with Server(written.followed(), free_port()) as server:
        server.followed = replace(server.followed, mark=mark)
        monkeypatch.setattr("caviar.pages.serve.PERIOD", 0.0)
        server._next = 0.0
        with pytest.raises(KeyboardInterrupt):
            server.follow()
        assert (written.rendered, last(server)["version"]) == (2, 2)
    said = "warning: the page stays as it is: the ledger is out of reach\n"
    assert capsys.readouterr().err == said  # once


def test_a_study_that_grows(tmp_path: Path, written: Written, hydra_state: None) -> None:
    space = Space((LR,))
    study = made(tmp_path / "grows", space, {"01_coarse": 6})
    followed = followed_study(study)
    # The first page is not looked at, and the study's own takes a second.
    with Server(replace(followed, render=written.render), free_port()) as server:
        server.followed = followed
        looked(server)
        assert last(server)["version"] == 1
        made(study.folder, space, {"02_fine": 1})
        looked(server)
        assert last(server) == {"version": 2, "ended": False}
        assert "02_fine" in ask(server)[1]
        (study.folder / VERDICT).touch()
        assert server.followed.ended()


def test_the_command_prints_its_address_and_ends_with_ctrl_c(
    caviar: Main, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(runs / "s", Space((LR,)), {"01_coarse": 6})
    port, status = free_port(), 0

    def visit() -> None:
        nonlocal status
        connection = HTTPConnection(HOST, port, timeout=20)
        until = time.monotonic() + 60
        while time.monotonic() < until and not status:
            try:
                connection.request("GET", "/")
                status = connection.getresponse().status
            except OSError:
                connection.close()
                time.sleep(0.05)
        connection.close()
        os.kill(os.getpid(), signal.SIGINT)

    visitor = threading.Thread(target=visit)
    visitor.start()
    code = caviar("report", "search.study=s", "--serve", "--port", str(port))
    visitor.join()
    assert (code, status) == (0, 200)
    printed = capsys.readouterr().out
    assert f"http://127.0.0.1:{port}/ follows s; Ctrl-C ends it" in printed
    assert "no longer served; it is in" in printed
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=5).close()
    assert caviar("report", "search.study=s", "--port", "8000") == 2
    assert "--port is that of --serve" in capsys.readouterr().err


@pytest.mark.slow
def test_in_a_browser_it_loads_itself_again_and_keeps_the_place(
    chromium: Any, written: Written
) -> None:
    with Server(written.followed(), free_port()) as server:
        page = chromium.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(server.address)
        page.fill("#filter", "0.01")
        page.click("summary")
        page.select_option("select", "b")
        page.evaluate("scrollTo(0, 1234)")
        assert page.text_content("#follow") == "following"
        written.word = "second"
        looked(server)
        page.wait_for_function("document.querySelector('p').textContent === 'second'")
        page.wait_for_function("scrollY === 1234 && document.getElementById('filter').value")
        assert page.input_value("#filter") == "0.01"
        assert page.input_value("select") == "b"
        assert page.evaluate("document.querySelector('details').open")
        page.click("#follow")
        written.word = "end"
        looked(server)
        page.wait_for_function("document.getElementById('follow').textContent.includes('news')")
        assert page.text_content("p") == "second"
        page.click("#follow")
        page.wait_for_function("document.querySelector('p').textContent === 'end'")
        page.wait_for_function("document.getElementById('follow').textContent === 'complete'")
        assert complaints == []
        page.close()
