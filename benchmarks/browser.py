"""The browser tool beside plain Playwright: resets, steps, memory over many resets.

    python benchmarks/browser.py [--resets 1000] [--rounds 3] [--out benchmarks/results/browser.json]

The page is a form of 40 fields and a counter. Plain Playwright is what browser environments commonly do: a new browser per
reset (as BrowserGym), `locator.click` and `aria_snapshot` per step, no sandbox. Rounds alternate. Printed: median (lowest to
highest) of the rounds' medians in ms, and the ratio of the medians; CPU is that of Python, driver and browser together, a call,
and does not depend on what else the machine does.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Playwright, Route, async_playwright

from turnwise.tool_servers.browser.find import find_chromium
from turnwise.tool_servers.browser.sandbox import BrowserSandbox
from turnwise.tool_servers.sandbox.bubblewrap_launch import tree, usage
from turnwise.tool_servers.sandbox.protocol import SessionSpec

URL = "http://app.test/"
FIELDS = "".join(f"<div><label>Field {i} <input name=f{i}></label></div>" for i in range(40))
PAGE = f"""<!doctype html><title>Form</title><button onclick="n.textContent=+n.textContent+1">Count</button><p id=n>0</p>
<form>{FIELDS}</form><script>window.app = {{restart() {{ n.textContent = 0; document.forms[0].reset(); }}}}</script>"""
SETTINGS = {"bundle": "form", "start": URL, "width": 640, "height": 640, "restart": "app.restart"}
TARGETS = {"context_ms": 300.0, "restart_ms": 20.0, "step_ms": 10.0}

Measures = dict[str, float]


def cpu_ms() -> float:
    """Of this process and all below it, those that ended included."""
    return usage(tree(os.getpid()))[1] * 1e3


async def timed(name: str, count: int, work: Callable[[int], Awaitable[object]]) -> Measures:
    """Wall (median) and CPU (mean) milliseconds of one call."""
    before = cpu_ms()
    wall = await median_ms(count, work)
    return {f"{name}_ms": wall, f"{name}_cpu_ms": (cpu_ms() - before) / count}


async def median_ms(count: int, work: Callable[[int], Awaitable[object]]) -> float:
    times: list[float] = []
    for number in range(count):
        started = time.perf_counter()
        await work(number)
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


async def ours(sandbox: BrowserSandbox, tag: str, count: int) -> Measures:
    """Fresh context with its first observation, restart in place, click and observe with and without a picture."""

    async def fresh(number: int) -> None:
        session = await sandbox.open(SessionSpec(f"{tag}-{number}", "browser", settings=SETTINGS))
        await session.call(1, "observe", {})
        await session.close()

    found = await timed("context", max(5, count // 10), fresh)
    session = await sandbox.open(SessionSpec(f"{tag}-s", "browser", settings=SETTINGS))
    seq = 0

    async def call(tool: str, **arguments: Any) -> None:
        nonlocal seq
        seq += 1
        result = await session.call(seq, tool, arguments)
        assert result.status == "ok", result

    await call("observe")
    found |= await timed("restart", count, lambda _: call("restart"))
    found |= await timed("step", count, lambda _: call("click", mark=1))
    found |= await timed("picture", max(5, count // 5), lambda _: call("screenshot"))
    await session.close()
    return found


async def plain(playwright: Playwright, count: int) -> Measures:
    """The same with Playwright as it is commonly used."""
    browser: Browser | None = None
    page: Page | None = None

    async def serve(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/html", body=PAGE)

    async def fresh(_: int) -> None:
        nonlocal browser, page
        if browser:
            await browser.close()
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = await browser.new_context(viewport={"width": 640, "height": 640})
        await context.route("**/*", serve)
        page = await context.new_page()
        await page.goto(URL)
        await page.locator("body").aria_snapshot()

    async def step(_: int) -> None:
        assert page
        await page.locator("button").click()
        await page.locator("body").aria_snapshot()

    async def picture(_: int) -> None:
        assert page
        await page.screenshot()

    found = await timed("context", max(5, count // 10), fresh)
    found |= await timed("step", count, step)
    found |= await timed("picture", max(5, count // 5), picture)
    assert browser
    await browser.close()
    return found


async def soak(resets: int) -> dict[str, Any]:
    """Memory (MB, anonymous and shared) of one browser over many fresh contexts, looked at twenty times."""
    seen: list[float] = []
    async with BrowserSandbox({"form": {URL: PAGE}}, recycle_after=resets + 1) as sandbox:
        for number in range(resets):
            session = await sandbox.open(SessionSpec(f"r{number}", "browser", settings=SETTINGS))
            await session.call(1, "click", {"x": 20, "y": 20})
            await session.close()
            if sandbox.browser and (number + 1) % max(1, resets // 20) == 0:
                seen.append(round(sandbox.browser.memory_mb(), 1))
        assert sandbox.started == 1
    settled = seen[len(seen) // 10 :]
    middle = statistics.median(settled)
    return {"resets": resets, "memory_mb": seen, "spread": round(max(abs(s / middle - 1) for s in settled), 3)}


def said(values: list[float]) -> str:
    return f"{statistics.median(values):8.1f} ms ({min(values):.1f} to {max(values):.1f})"


async def measure(rounds: int, count: int, resets: int) -> dict[str, Any]:
    mine: list[Measures] = []
    theirs: list[Measures] = []
    async with BrowserSandbox({"form": {URL: PAGE}}, recycle_after=1_000_000) as sandbox, async_playwright() as playwright:
        for number in range(rounds):
            mine.append(await ours(sandbox, f"b{number}", count))
            theirs.append(await plain(playwright, count))
    result: dict[str, Any] = {"turnwise": mine, "playwright": theirs, "ratio": {}}
    for name in mine[0]:
        values = [found[name] for found in mine]
        line = f"{name:15s} {said(values)}"
        if name in theirs[0]:
            other = [found[name] for found in theirs]
            ratio = statistics.median(other) / statistics.median(values)
            result["ratio"][name] = round(ratio, 2)
            line += f"   plain Playwright {said(other)}   x{ratio:.1f}"
        if name in TARGETS:
            line += f"   target < {TARGETS[name]:g} ms: {'met' if statistics.median(values) < TARGETS[name] else 'MISSED'}"
        print(line, flush=True)
    result["soak"] = await soak(resets)
    print(f"memory over {resets} resets: {result['soak']['memory_mb']} MB, within {result['soak']['spread']:.0%} of the median")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resets", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=100, help="steps per round; a tenth as many resets")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "browser.json")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    result = asyncio.run(measure(arguments.rounds, arguments.count, arguments.resets))
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "load_before": load, "load_after": os.getloadavg()[0]}
    arguments.out.write_text(json.dumps(machine | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
