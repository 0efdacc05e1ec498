"""Where Chromium is on this machine, and the flags it gets."""

import os
import shutil
from pathlib import Path

from turnwise.errors import ConfigError, Unsupported

__all__ = ["FLAGS", "find_chromium"]

FLAGS = (
    "--headless",
    "--no-sandbox",  # its own sandbox needs user namespaces, which the one around it takes away
    "--disable-gpu",
    "--disable-gpu-vsync",  # frames when they are asked for: an action is over in 5 ms, not at the next 1/60 s
    "--disable-frame-rate-limit",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-back-forward-cache",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-client-side-phishing-detection",
    "--disable-hang-monitor",
    "--disable-popup-blocking",
    "--disable-smooth-scrolling",
    "--disable-site-isolation-trials",
    "--disable-features=IsolateOrigins,site-per-process,Translate,OptimizationHints,MediaRouter,AutofillServerCommunication,HttpsUpgrades",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--hide-scrollbars",
    "--mute-audio",
    "--metrics-recording-only",
    "--password-store=basic",
    "--use-mock-keychain",
    "--user-data-dir=/tmp/profile",
    "--no-startup-window",
    "--remote-debugging-pipe",
)
_SHELLS = ("/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell")
_WHOLE = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")
"""Debian's binaries before its shell scripts, which read folders that the sandbox does not show."""


def find_chromium(given: str | None = None, *, playwrights: str | None = None) -> str:
    """The argument, TURNWISE_CHROMIUM, Playwright's own, chromium-headless-shell, chromium; the first that is there.

    `playwrights` is where Playwright would have its own. ConfigError for a given one that is not there, Unsupported if none is.
    """
    for where, path in (("executable", given), ("TURNWISE_CHROMIUM", os.environ.get("TURNWISE_CHROMIUM"))):
        if path:
            found = shutil.which(path)
            if found is None:
                raise ConfigError(f"{where}: expected a Chromium that can be run, got {path!r}; unset it to have one found.")
            return found
    for path in (playwrights, *_SHELLS, *_WHOLE):
        found = shutil.which(path) if path else None
        if found:
            return str(Path(found).resolve())
    raise Unsupported(
        "browser: no Chromium was found. Run `playwright install --with-deps chromium`, or `apt install chromium-headless-shell` "
        "(Debian), or set TURNWISE_CHROMIUM to its path."
    )
