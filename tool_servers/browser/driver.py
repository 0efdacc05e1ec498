"""Playwright, which is an extra: its error as a name that is always there, and its start with a mend where it is missing."""

from typing import TYPE_CHECKING

from turnwise.errors import Unsupported

if TYPE_CHECKING:
    from playwright.async_api import Error as DriverError
    from playwright.async_api import Playwright
else:
    try:
        from playwright.async_api import Error as DriverError
    except ModuleNotFoundError:

        class DriverError(Exception):
            """What nobody raises where Playwright is not installed."""


__all__ = ["DriverError", "start_driver"]


async def start_driver() -> "Playwright":
    """Unsupported without Playwright."""
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise Unsupported("browser: Playwright is not installed; `pip install 'turnwise[browser]'`.") from error
    return await async_playwright().start()
