"""The real Chromium in its sandbox: what is seen, what can be done, what is refused, and what stays behind."""

import asyncio
import base64
import contextlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from turnwise.errors import ConfigError, SandboxFailure, TurnwiseError, UnknownName
from turnwise.tool_servers.browser.find import find_chromium
from turnwise.tool_servers.browser.sandbox import BrowserSandbox
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, Sandbox, SessionSpec, Status, ToolResult


def _missing() -> str:
    """What this machine lacks, found without our sandbox."""
    try:
        find_chromium()
    except TurnwiseError as error:
        return str(error)
    argv = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    works = shutil.which("bwrap") and subprocess.run(argv, capture_output=True, check=False).returncode == 0
    return "" if works else "bubblewrap cannot make a sandbox on this machine"


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing())

FORM = """<!doctype html><title>Form</title><h1>Order</h1><p>Please <b>fill</b> in.</p>
<form onsubmit="out.textContent='sent '+new FormData(this).get('email');return false">
<label>Email <input name=email type=email required></label><label for=pw>Password</label><input id=pw type=password>
<label><input type=checkbox name=agree> I agree</label>
<fieldset><legend>Colour</legend><label><input type=radio name=c value=r>Red</label>
<label><input type=radio name=c value=g>Green</label></fieldset>
<label>Size <select name=size onchange="sized.textContent=this.value">
<option>Small<option>Large<option disabled>Huge</select></label>
<textarea placeholder=Notes></textarea><input type=date aria-label=Day><button>Send</button></form>
<p id=out></p><p id=sized></p><p id=n>0</p>
<button onclick="n.textContent=+n.textContent+1">Count</button><button disabled>Off</button>
<div style="display:none"><button>None</button></div><button style="visibility:hidden">Invisible</button>
<button style="opacity:0">Transparent</button><input type=hidden value=secret>
<div id=d>plain</div><div style="height:3000px"></div><button>Far</button>
<script>d.addEventListener('click', () => d.textContent = 'was clicked')</script>"""
ODD = """<title>Odd</title><p id=out></p>
<button onclick="alert('hello')">Alert</button><button onclick="out.textContent=confirm('Sure?')">Confirm</button>
<button onclick="out.textContent=prompt('Name?','none')">Prompt</button>
<div id=open></div><div id=closed></div>
<script>for (const mode of ['open', 'closed']) {
  const root = document.getElementById(mode).attachShadow({mode});
  root.innerHTML = `<button>${mode} shadow</button>`;
  root.querySelector('button').onclick = event => event.target.textContent = 'in ' + mode;
}</script>
<iframe src=/inner></iframe><iframe src="http://other.test/frame"></iframe>
<a href=/two target=_blank>new tab</a><button onclick="window.open('/two')">opens</button>
<a href=/file.bin download>download</a><a href="http://outside.test/">outside</a><a href="file:///etc/passwd">local</a>
<button onclick="while(1);">Hang</button>
<div id=menu tabindex=0 onmouseenter="sub.hidden=false">Menu
<div id=sub hidden><button onclick="out.textContent='chosen'">Entry</button></div></div>
<div style="position:relative"><button id=under style="width:80px">Under</button>
<div style="position:absolute;inset:0;background:#fff8">cover</div></div>"""
STORE = """<title>Store</title><p id=what></p><script>
window.app = {
  count: 0,
  async keep() {
    localStorage.a = 1; sessionStorage.b = 2; document.cookie = 'c=3; max-age=9999';
    await new Promise(done => { const open = indexedDB.open('d'); open.onsuccess = () => { open.result.close(); done(); }; });
    if (window.caches) await (await caches.open('e')).put('/x', new Response('f'));
    return true;
  },
  restart(given) { this.count = given?.count ?? 0; what.textContent = 'episode ' + this.count; return !given?.fail; },
};</script><a href=/two>away</a>"""
SITE = {
    "http://app.test/": FORM,
    "http://app.test/odd": ODD,
    "http://app.test/inner": "<button onclick=\"this.textContent='inner done'\">inner</button>",
    "http://app.test/two": "<title>Two</title><h1>Second</h1><a href=/>home</a>",
    "http://app.test/store": STORE,
    "http://app.test/file.bin": b"\0\1",
    "http://app.test/late": """<title>Late</title><p id=p>wait</p><script>
        const show = text => setTimeout(() => p.textContent = 'got ' + text.length, 30);
        const later = () => fetch('/inner').then(answer => answer.text()).then(show);
        </script><button onclick="later()">Load</button><button onclick="location.href='/two'">Go</button>
        <button onclick="requestAnimationFrame(() => requestAnimationFrame(() => p.textContent = 'drawn'))">Draw</button>
        <script>(function loop() { requestAnimationFrame(loop); })(); setInterval(() => 0, 5)</script>""",
    "http://app.test/time": """<p id=p></p><script>p.textContent = [new Date().toISOString(), Date.now() > 0, Math.random(),
        Intl.DateTimeFormat().resolvedOptions().timeZone, navigator.language,
        matchMedia('(prefers-reduced-motion: reduce)').matches, Date(2020).slice(0, 15), +new Date(5)].join(' ')</script>""",
    "http://other.test/frame": "<p>elsewhere</p><button onclick=\"this.textContent='other done'\">other</button>",
}


INNER = "http://app.test/inner"


class Person:
    """Plays a session: counts the calls, finds marks by name."""

    def __init__(self, session: Any) -> None:
        self.session, self.seq, self.last = session, 0, ToolResult(Status.OK)

    async def do(self, tool: str, /, **arguments: Any) -> ToolResult:
        self.seq += 1
        result = await self.session.call(self.seq, tool, arguments)
        assert result.seq == self.seq
        if result.status is Status.OK and tool != "evaluate":
            self.last = result
        return result

    def mark(self, name: str) -> int:
        return next(mark["mark"] for mark in self.last.value["marks"] if mark["name"] == name)

    async def click(self, name: str) -> ToolResult:
        return await self.do("click", mark=self.mark(name))


@contextlib.asynccontextmanager
async def playing(sandbox: BrowserSandbox, path: str, name: str = "t", **more: Any) -> Any:
    settings = {"bundle": "site", "start": f"http://app.test{path}", **more.pop("settings", {})}
    session = await sandbox.open(SessionSpec(name, "browser", settings=settings, **more))
    try:
        person = Person(session)
        await person.do("observe")
        yield person
    finally:
        await session.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def sandbox(loop: asyncio.AbstractEventLoop) -> Iterator[BrowserSandbox]:
    made = BrowserSandbox({"site": SITE})
    yield made
    loop.run_until_complete(made.close())


@pytest.fixture
def play(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> Callable[..., None]:
    """`play(path, scene)`: run the scene with a person at that page."""

    def run(path: str, scene: Callable[[Person], Awaitable[None]], **more: Any) -> None:
        async def whole() -> None:
            async with playing(sandbox, path, **more) as person:
                await scene(person)

        loop.run_until_complete(whole())

    return run


Play = Callable[..., None]


def test_it_is_a_sandbox(sandbox: BrowserSandbox) -> None:
    as_protocol: Sandbox = sandbox
    assert as_protocol.level is Level.NAMESPACES


def test_a_form_is_seen(play: Play) -> None:
    async def scene(person: Person) -> None:
        lines = person.last.out.splitlines()
        assert lines[0] == "page: Form <http://app.test/>" and lines[1].startswith("scroll: 0 px above")
        assert lines[3:] == [
            'heading "Order" level=1',
            'text "Please fill in."',
            "form",
            '  [1] textbox "Email" value="" required',
            '  [2] textbox "Password" value=""',
            '  [3] checkbox "I agree"',
            '  group "Colour"',
            '    [4] radio "Red"',
            '    [5] radio "Green"',
            '  [6] combobox "Size" value="Small" options: "Small" | "Large" | "Huge" (disabled)',
            '  [7] textbox "Notes" value=""',
            '  [8] textbox "Day" value=""',
            '  [9] button "Send"',
            'text "0"',
            '[10] button "Count"',
            '[11] button "Off" disabled',
            '[12] item "plain"',
            '[13] button "Far" offscreen',
        ]
        x, y, w, h = person.last.value["marks"][9]["box"]
        assert 0 < x < 300 and 0 < y < 768 and w > 20 and h > 10

    play("/", scene)


def test_a_form_is_filled_in(play: Play) -> None:
    async def scene(person: Person) -> None:
        assert 'value="a@b.de"' in (await person.do("type", mark=1, text="a@b.de")).out
        assert 'value="xyz"' in (await person.do("type", mark=7, text="xyz")).out
        assert 'value="xyz+"' in (await person.do("type", mark=7, text="+", append=True)).out
        assert 'value="new"' in (await person.do("type", mark=7, text="new")).out
        assert 'value=""' in (await person.do("type", mark=7, text="")).out.split("Notes")[1]
        assert 'value="2026-02-03"' in (await person.do("type", mark=8, text="2026-02-03")).out
        assert "note: the field holds ''" in (await person.do("type", mark=8, text="tomorrow")).out
        assert 'value="••••"' in (await person.do("type", mark=2, text="pass")).out
        assert '"I agree" checked' in (await person.click("I agree")).out
        assert '"Green" checked' in (await person.click("Green")).out
        chosen = await person.do("select", mark=6, options=["Large"])
        assert 'value="Large"' in chosen.out and 'text "Large"' in chosen.out
        assert 'text "1"' in (await person.click("Count")).out
        assert 'item "was clicked"' in (await person.click("plain")).out
        assert 'text "sent a@b.de"' in (await person.do("type", mark=1, text="a@b.de", submit=True)).out
        far = await person.click("Far")
        assert "px above" in far.out and "scroll: 0 px above" not in far.out
        assert "scroll: 0 px above" in (await person.do("scroll", direction="up", pixels=5000)).out

    play("/", scene)


def test_keys_and_points(play: Play) -> None:
    async def scene(person: Person) -> None:
        await person.do("click", mark=1)
        await person.do("type", text="äß€ and more")
        assert "focused" in (await person.do("key", keys="Tab")).out.split("Password")[1].splitlines()[0]
        await person.do("click", mark=person.mark("Notes"))
        for keys in ("a", "B", "Enter", "c", "Control+A", "Backspace", "z"):
            await person.do("key", keys=keys)
        assert '"Notes" value="z"' in person.last.out
        x, y, w, h = next(mark["box"] for mark in person.last.value["marks"] if mark["name"] == "Count")
        assert 'text "1"' in (await person.do("click", x=x + w / 2, y=y + h / 2)).out
        assert 'text "3"' in (await person.do("click", x=x + w / 2, y=y + h / 2, count=2)).out
        assert "no key" in (await person.do("key", keys="Nonsense")).err

    play("/", scene)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("fly", {}, "There is no tool 'fly'; there are goto, click"),
    ("click", {}, "either mark, or both x and y"),
    ("click", {"mark": 1, "x": 1, "y": 1}, "either mark, or both x and y"),
    ("click", {"mark": 99}, "There is no mark 99; the last observation has 1 to 13."),
    ("click", {"mark": "1"}, "mark must be of type integer"),
    ("click", {"mark": True}, "mark must be of type integer"),
    ("click", {"mark": 0}, "at least 1"),
    ("click", {"x": 5000, "y": 5}, "outside the viewport"),
    ("click", {"mark": 1, "speed": 3}, "there is no speed"),
    ("type", {"mark": 1}, "text is missing"),
    ("type", {"mark": 11, "text": "x"}, "disabled"),
    ("type", {"text": "x" * 20_001}, "20000"),
    ("select", {"mark": 6, "options": ["Medium"]}, 'Mark 6 has no option "Medium"'),
    ("select", {"mark": 6, "options": ["Huge"]}, 'has no option "Huge"'),
    ("select", {"mark": 6, "options": []}, "exactly one"),
    ("select", {"mark": 1, "options": ["x"]}, "no select box"),
    ("scroll", {"direction": "sideways"}, "one of up, down"),
    ("back", {}, "no page to go back to"),
    ("forward", {}, "no page to go forward to"),
    ("tab", {"action": "switch", "number": 4}, "There is no tab 4"),
    ("wait", {"seconds": float("nan")}, "must be of type number"),
    ("goto", {"url": "http://app.test:99999/"}, "cannot be reached"),
    ("evaluate", {"expression": "nothing.here"}, "ReferenceError"),
    ("evaluate", {"expression": "window"}, "JSON"),
]


def test_what_cannot_be_done_is_said(play: Play) -> None:
    async def scene(person: Person) -> None:
        for tool, arguments, words in WRONG:
            result = await person.do(tool, **arguments)
            assert result.status is Status.ERROR and words in result.err, (tool, arguments, result)
            assert (await person.do("observe")).status is Status.OK

    play("/", scene)


REFUSED = [
    "file:///etc/passwd", "FILE:///etc/passwd", " file:///etc/passwd", "chrome://version", "chrome://crash", "view-source:http://app.test/",
    "javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,<h1>x</h1>", "blob:http://app.test/x", "about:version",
    "about:srcdoc", "devtools://devtools", "ftp://app.test/", "http:app.test", "//app.test/", "app.test", "", "http://",
    "http://u:p@app.test/", "http://[::1", "http://app.test/ x", "http://169.254.169.254/", "http://192.168.1.1/",
    "http://[::1]/", "http://localhost/", "https://app.test/", "http://app.test@127.0.0.1/",
]  # fmt: skip


def test_addresses_that_are_refused(play: Play) -> None:
    async def scene(person: Person) -> None:
        for url in REFUSED:
            for result in (await person.do("goto", url=url), await person.do("tab", action="new", url=url)):
                assert result.status is Status.ERROR, (url, result)
        seen = await person.do("observe")
        assert seen.value["tabs"] == ["http://app.test/two"]

    play("/two", scene)


@pytest.fixture
def loopback() -> Iterator[tuple[int, list[str]]]:
    """A server that really runs on this machine, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(b"canary")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


def test_nothing_outside_the_bundle_is_reached(play: Play, loopback: tuple[int, list[str]]) -> None:
    """Neither through the site's rules nor past them: the browser's own network is asked as well."""
    port, asked = loopback
    with contextlib.suppress(OSError):
        assert socket.create_connection(("127.0.0.1", port), timeout=2).close() is None

    async def scene(person: Person) -> None:
        for host in ("127.0.0.1", "localhost", socket.gethostbyname(socket.gethostname()), "[::1]", "app.test"):
            url = f"http://{host}:{port}/x"
            fetched = f"fetch('{url}', {{mode: 'no-cors'}}).then(() => 'reached', () => 'refused')"
            assert (await person.do("evaluate", expression=fetched)).value == "refused"
            opened = f"const s = new WebSocket('ws://{host}:{port}'); s.onopen = () => done(1); s.onerror = () => done(0)"
            ws = f"new Promise(done => {{ {opened} }})"
            assert (await person.do("evaluate", expression=ws)).value == 0
            await person.do("evaluate", expression=f"location.href = '{url}'")
            seen = await person.do("observe")
            assert seen.value["url"] == "http://app.test/two" and "refused" in seen.out
            await person.do("evaluate", expression=f"document.body.append(Object.assign(new Image, {{src: '{url}'}}))")
        page = person.session.window.tab.page
        await page.context.unroute_all(behavior="ignoreErrors")
        for host in ("127.0.0.1", "localhost"):
            fetched = f"fetch('http://{host}:{port}/y', {{mode: 'no-cors'}}).then(() => 'reached', () => 'refused')"
            assert (await person.do("evaluate", expression=fetched)).value == "refused"
        with pytest.raises(Exception, match="net::ERR"):
            await page.goto("file:///etc/passwd")

    play("/two", scene)
    assert asked == []


def test_dialogs(play: Play) -> None:
    async def scene(person: Person) -> None:
        assert "note: dialog alert: 'hello'." in (await person.click("Alert")).out
        assert "note" not in (await person.do("observe")).out
        accepted = await person.click("Confirm")
        assert "note: dialog confirm: 'Sure?'. It was accepted." in accepted.out and 'text "true"' in accepted.out
        assert "with 'none'" in (await person.click("Prompt")).out
        await person.do("dialog", accept=False)
        assert "cancelled" in (await person.click("Confirm")).out and 'text "false"' in person.last.out
        await person.do("dialog", accept=True, text="Ada")
        assert "with 'Ada'" in (await person.click("Prompt")).out and 'text "Ada"' in person.last.out
        await person.do("evaluate", expression="onbeforeunload = event => event.preventDefault()")
        assert "dialog beforeunload" in (await person.do("goto", url="http://app.test/two")).out
        assert person.last.value["title"] == "Two"

    play("/odd", scene)


def test_frames_and_shadow_roots(play: Play) -> None:
    async def scene(person: Person) -> None:
        for name, then in (
            ("open shadow", "in open"),
            ("closed shadow", "in closed"),
            ("inner", "inner done"),
            ("other", "other done"),
        ):
            assert f'button "{then}"' in (await person.click(name)).out
        frames = [line.strip() for line in person.last.out.split("frame\n")[2].splitlines()]
        assert frames[0] == 'text "elsewhere"'

    play("/odd", scene, settings={"height": 1000})


def test_tabs(play: Play) -> None:
    async def scene(person: Person) -> None:
        opened = await person.click("new tab")
        assert opened.value["tabs"] == ["http://app.test/odd", "http://app.test/two"] and opened.value["tab"] == 2
        assert "note: a new tab opened (2) and is shown" in opened.out and 'heading "Second"' in opened.out
        assert "tab 1: Odd <http://app.test/odd>\ntab 2 (this one): Two" in opened.out
        assert (await person.do("tab", action="switch", number=1)).value["title"] == "Odd"
        assert (await person.click("opens")).value["tab"] == 3
        assert (await person.do("tab", action="close")).value["tabs"] == ["http://app.test/odd", "http://app.test/two"]
        assert (await person.do("tab", action="new", url="http://app.test/")).value["title"] == "Form"
        for _ in range(3):
            await person.do("tab", action="close", number=1)
        assert person.last.value["tabs"] == ["about:blank"] and "(empty page)" in person.last.out

    play("/odd", scene)


def test_tabs_are_bounded(play: Play) -> None:
    async def scene(person: Person) -> None:
        await person.do("evaluate", expression="for (let i = 0; i < 20; i++) open('/two'); 0")
        seen = await person.do("observe")
        assert len(seen.value["tabs"]) == 16 and "a tab was refused" in seen.out

    play("/odd", scene)


def test_history(play: Play) -> None:
    async def scene(person: Person) -> None:
        assert (await person.click("home")).value["title"] == "Form"
        assert (await person.do("back")).value["title"] == "Two"
        assert (await person.do("forward")).value["title"] == "Form"
        assert "Not found" in (await person.do("goto", url="http://app.test/two#part")).out or person.last.value["title"] == "Two"

    play("/two", scene)


def test_what_a_page_may_not_do_is_told(play: Play) -> None:
    async def scene(person: Person) -> None:
        assert "refused: http://outside.test/" in (await person.click("outside")).out
        assert "the download of 'file.bin' was refused" in (await person.click("download")).out
        assert (await person.click("local")).value["url"] == "http://app.test/odd"

    play("/odd", scene)


def test_covered_and_gone(play: Play) -> None:
    async def scene(person: Person) -> None:
        assert 'is covered by div "cover"' in (await person.click("Under")).err
        narrower = "under.onclick = () => { out.textContent = 'reached'; }, under.nextElementSibling.style.width = '75px'"
        await person.do("evaluate", expression=narrower)
        assert 'text "reached"' in (await person.click("Under")).out  # where it shows: 5 pixels at its right
        old = person.mark("Alert")
        await person.do("evaluate", expression="document.querySelector('button').remove()")
        assert "no longer on the page" in (await person.do("click", mark=old)).err
        assert '"Entry"' not in person.last.out
        menu = person.mark("Menu")
        assert '"Entry"' in (await person.do("hover", mark=menu)).out
        assert 'text "chosen"' in (await person.click("Entry")).out

    play("/odd", scene, settings={"height": 1000})


def test_an_action_is_over_when_it_is_over(play: Play) -> None:
    """What a click sets going (frames, short timers, requests, navigations) is waited for; loops without end are not."""

    async def scene(person: Person) -> None:
        for _ in range(3):
            assert f"got {len(SITE[INNER])}" in (await person.click("Load")).out
            assert "drawn" in (await person.click("Draw")).out
            assert (await person.click("Go")).value["title"] == "Two"
            await person.do("back")

    play("/late", scene)


def test_an_endless_script_is_stopped(play: Play) -> None:
    async def scene(person: Person) -> None:
        result = await person.click("Hang")
        assert result.status is Status.TIMEOUT and "1 s" in result.err
        assert "note" in (await person.click("Alert")).out
        with pytest.raises(ForkRefused):
            await person.session.fork(["twin"])

    play("/odd", scene, limits=Limits(wall_s=1))


def test_pages_are_repeatable(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def text(seed: int, **settings: Any) -> str:
        async with playing(sandbox, "/time", seed=seed, settings=settings) as person:
            return person.last.out.split('text "')[1]

    async def scene() -> None:
        first, again, other = await text(1), await text(1), await text(2)
        assert first == again != other
        assert first.startswith("2026-01-01T09:00:00.") and " UTC en-US true Thu Jan 01 2026 5" in first
        assert " Europe/Paris fr-FR " in await text(1, timezone="Europe/Paris", locale="fr-FR")
        assert not (await text(1, now_ms=None)).startswith("2026-01-01T09")

    loop.run_until_complete(scene())


def test_pictures(play: Play, tmp_path: Path) -> None:
    async def scene(person: Person) -> None:
        plain = base64.b64decode((await person.do("screenshot")).value["image"]["base64"])
        drawn = base64.b64decode((await person.do("screenshot", marks=True)).value["image"]["base64"])
        assert plain[:8] == drawn[:8] == b"\x89PNG\r\n\x1a\n" and plain != drawn
        assert int.from_bytes(plain[16:20]) == 640 and int.from_bytes(plain[20:24]) == 480
        assert base64.b64decode((await person.do("screenshot")).value["image"]["base64"]) == plain
        assert "value" in (await person.do("type", mark=1, text="x")).out

    play("/", scene, settings={"width": 640, "height": 480})

    async def every(person: Person) -> None:
        assert person.last.value["image"]["type"] == "image/jpeg"
        assert base64.b64decode(person.last.value["image"]["base64"])[:2] == b"\xff\xd8"

    play("/", every, settings={"picture": "jpeg", "picture_marks": True})


def test_nothing_is_looked_at_half_way(play: Play) -> None:
    """What a page does slowly is seen when it is done, with what comes after it; what it does at once is not made slow."""

    async def scene(person: Person) -> None:
        slow = "d.style.transition = 'width 60s 5s', d.style.width = '100px', d.onclick = () => { d.style.width = '300px' }"
        after = "d.addEventListener('transitionend', () => { out.textContent = 'arrived' })"
        await person.do("evaluate", expression=f"{slow}, {after}, 1")
        await person.do("observe")
        seen = await person.click("plain")
        assert next(mark["box"] for mark in seen.value["marks"] if mark["name"] == "was clicked")[2] == 300
        assert "arrived" in seen.out
        await person.do("evaluate", expression="d.style.width = '500px', d.offsetWidth")
        pictures = [(await person.do("screenshot")).value["image"]["base64"] for _ in range(2)]
        assert pictures[0] == pictures[1]
        at_once = await person.do("evaluate", expression="d.style.transition = '', d.style.width = '77px', d.offsetWidth")
        assert at_once.value == 77

    play("/", scene)


def test_only_the_viewport(play: Play) -> None:
    async def scene(person: Person) -> None:
        assert "Far" not in person.last.out and "(1 more outside the viewport: scroll)" in person.last.out
        assert '[1] textbox "Email" value="" required at ' in person.last.out

    play("/", scene, settings={"viewport_only": True, "boxes": True})


STORED = """(async () => [...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie,
    ...(await indexedDB.databases()).map(d => d.name), ...(window.caches ? await caches.keys() : [])].join())()"""


def test_each_session_and_restart_begins_empty(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def scene() -> None:
        for number in range(2):
            async with playing(sandbox, "/store", f"s{number}", settings={"restart": "app.restart"}) as person:
                assert (await person.do("evaluate", expression=STORED)).value == ""
                first = await person.do("restart", argument={"count": 1})
                assert first.value["rung"] == "page" and "episode 1" in first.out
                await person.do("evaluate", expression="app.keep()")
                assert "a,b,c=3,d" in (await person.do("evaluate", expression=STORED)).value
                second = await person.do("restart", argument={"count": 2})
                assert second.value["rung"] == "address" and "episode" not in second.out
                assert (await person.do("evaluate", expression=STORED)).value == ""
                assert (await person.do("back")).status is Status.ERROR
                await person.do("evaluate", expression="app.keep()")
                other = await person.do("restart", seed=7)
                assert other.value["rung"] == "context"
                assert (await person.do("evaluate", expression=STORED)).value == ""
                failed = await person.do("restart", argument={"fail": True}, seed=0)
                assert failed.value["rung"] == "address"

    loop.run_until_complete(scene())


def test_sessions_do_not_see_each_other(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def scene() -> None:
        async with playing(sandbox, "/store", "one") as one, playing(sandbox, "/store", "two") as two:
            await asyncio.gather(one.do("evaluate", expression="app.keep()"), two.do("observe"))
            assert (await two.do("evaluate", expression=STORED)).value == ""

    loop.run_until_complete(scene())


def test_calls_run_once_and_are_counted(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def scene() -> None:
        async with playing(sandbox, "/", limits=Limits(calls=4, output_kb=1)) as person:
            count = {"mark": person.mark("Count")}
            first = await person.session.call(2, "click", count)
            assert await person.session.call(2, "click", count) is first
            assert (await person.session.call(3, "evaluate", {"expression": "n.textContent"})).value == "1"
            with pytest.raises(ConfigError, match="seq must be 4"):
                await person.session.call(9, "observe", {})
            assert (await person.session.call(4, "observe", {})).status is Status.OK
            assert (await person.session.call(5, "observe", {})).status is Status.QUOTA
            assert (await person.session.call(6, "restart", {})).status is Status.OK
            person.seq = 6
            await person.do("evaluate", expression="out.textContent = 'x'.repeat(9000)")
            assert (await person.do("observe")).truncated and len(person.last.out) < 1200

    loop.run_until_complete(scene())


def test_specs_that_cannot_be(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    def spec(**settings: Any) -> SessionSpec:
        return SessionSpec("x", "browser", settings={"bundle": "site", "start": "http://app.test/", **settings})

    async def scene() -> None:
        for settings in ({"bundle": "sight"}, {"widht": 5}):
            with pytest.raises(UnknownName, match="Did you mean"):
                await sandbox.open(spec(**settings))
        for settings in ({"start": "http://nowhere.test/"}, {"start": 5}, {"width": 5}, {"picture": "gif"}, {"restart": "a()"}):
            with pytest.raises(ConfigError):
                await sandbox.open(spec(**settings))
        async with playing(sandbox, "/", "same") as person:
            twice = await asyncio.gather(
                *(sandbox.open(SessionSpec("both", "browser", settings=person.session.spec.settings)) for _ in "ab")
            )
            assert twice[0] is twice[1]
            await twice[0].close()
            again = await sandbox.open(person.session.spec)
            assert again is person.session
            with pytest.raises(ConfigError, match="another spec"):
                await sandbox.open(SessionSpec("same", "browser", settings={"bundle": "site", "start": "http://app.test/two"}))
            with pytest.raises(ConfigError, match="bundle"):
                await person.session.put("a", b"")
            with pytest.raises(ConfigError, match="no files"):
                await person.session.get("a")
        with pytest.raises(SandboxFailure, match="closed"):
            await person.do("observe")

    loop.run_until_complete(scene())


def test_fork_is_a_verified_replay(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def scene() -> None:
        async with playing(sandbox, "/") as person:
            await person.click("Count")
            await person.do("type", mark=1, text="a@b.de")
            twins = await person.session.fork(["f1", "f2"])
            mark = {"mark": person.mark("Count")}
            here = await person.do("click", **mark)
            there = [await twin.call(person.seq, "click", mark) for twin in twins]
            assert [result.out for result in there] == [here.out] * 2 and 'text "2"' in here.out
            assert (await twins[0].call(2, "click", mark)).out == (await person.session.call(2, "click", mark)).out
            for twin in twins:
                await twin.close()
            await person.do("evaluate", expression="out.textContent = performance.timeOrigin")
            await person.do("observe")
            with pytest.raises(ForkRefused, match="did not give the same"):
                await person.session.fork(["f3"])

    loop.run_until_complete(scene())


def test_leases_end(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def scene() -> None:
        settings = {"bundle": "site", "start": "http://app.test/two"}
        session = await sandbox.open(SessionSpec("short", "browser", settings=settings, lease_s=0.05))
        end = time.monotonic() + 120
        with pytest.raises(SandboxFailure, match="closed"):
            while time.monotonic() < end:
                await asyncio.sleep(0.1)
                await session.call(1, "observe", {})

    loop.run_until_complete(scene())


def test_memory_and_contexts_stay_flat(loop: asyncio.AbstractEventLoop, sandbox: BrowserSandbox) -> None:
    async def scene() -> None:
        seen: list[float] = []
        for number in range(60):
            async with playing(sandbox, "/two", f"flat{number}"):
                pass
            if number % 10 == 9 and sandbox.browser:
                seen.append(sandbox.browser.memory_mb())
        assert sandbox.browser and sandbox.browser.living == 0
        end = time.monotonic() + 60
        while (last := sandbox.browser.memory_mb()) >= 1.3 * seen[2] and time.monotonic() < end:
            await asyncio.sleep(0.1)  # the last renderers are still leaving
        assert last < 1.3 * seen[2], (seen, last)

    loop.run_until_complete(scene())


def wait_for_end(pids: list[int], deadline_s: float = 120.0) -> list[int]:
    """Those that are still there after the deadline."""
    end = time.monotonic() + deadline_s
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_dead_browser_is_a_failure_and_is_replaced() -> None:
    async def scene() -> None:
        async with BrowserSandbox({"site": SITE}) as sandbox:
            async with playing(sandbox, "/") as person:
                assert sandbox.browser
                browser = [sandbox.browser.pid, *descendants(sandbox.browser.pid)]
                os.kill(sandbox.browser.pid, signal.SIGKILL)
                assert not await asyncio.to_thread(wait_for_end, browser)
                with pytest.raises(SandboxFailure):
                    await person.do("observe")
                with pytest.raises(SandboxFailure):
                    await person.do("observe")
                async with playing(sandbox, "/two", "next") as after:
                    assert after.last.value["title"] == "Two" and sandbox.started == 2
            pid = sandbox.browser.pid
        assert not alive(pid)

    asyncio.run(scene())


def test_a_worn_browser_is_replaced_when_nobody_needs_it() -> None:
    async def scene() -> None:
        async with BrowserSandbox({"site": SITE}, recycle_after=1) as sandbox:
            async with playing(sandbox, "/", "a") as a:
                old = sandbox.browser
                async with playing(sandbox, "/two", "b") as b:
                    assert sandbox.started == 2 and old and old.alive
                    assert (await a.do("observe")).value["title"] == "Form" and b.last.value["title"] == "Two"
            assert not old.alive and not alive(old.pid)

    asyncio.run(scene())


def test_the_owners_death_leaves_nothing() -> None:
    code = """if 1:
        import asyncio, sys
        from turnwise.tool_servers.browser.sandbox import BrowserSandbox
        from turnwise.tool_servers.sandbox.protocol import SessionSpec
        async def main():
            sandbox = BrowserSandbox({"site": {"http://app.test/": "<p>x"}})
            await sandbox.open(SessionSpec("a", "browser", settings={"bundle": "site", "start": "http://app.test/"}))
            print(sandbox.browser.pid, flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout
            root = int(owner.stdout.readline())
            below = descendants(owner.pid)
            assert root in below and len(below) >= 5
        finally:
            owner.kill()
    assert not wait_for_end(below)


def descendants(root: int) -> list[int]:
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found[1:]


def test_without_namespaces_only_by_name(loopback: tuple[int, list[str]]) -> None:
    port, asked = loopback

    async def scene() -> None:
        async with BrowserSandbox({"site": SITE}, isolated=False) as sandbox, playing(sandbox, "/") as person:
            assert sandbox.level is Level.RLIMITS and 'heading "Order"' in person.last.out
            await person.session.window.tab.page.context.unroute_all(behavior="ignoreErrors")
            for host in ("127.0.0.1", "localhost"):
                fetched = f"fetch('http://{host}:{port}/', {{mode: 'no-cors'}}).then(() => 'reached', () => 'refused')"
                assert (await person.do("evaluate", expression=fetched)).value == "refused"

    asyncio.run(scene())
    assert asked == []


def test_find_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = shutil.which("sh") or ""
    assert find_chromium(shell) == shell
    monkeypatch.setenv("TURNWISE_CHROMIUM", shell)
    assert find_chromium() == shell
    monkeypatch.setenv("TURNWISE_CHROMIUM", "/no/such/chromium")
    with pytest.raises(ConfigError, match="TURNWISE_CHROMIUM"):
        find_chromium()
