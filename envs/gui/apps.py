"""All apps, by name."""

from collections.abc import Mapping

from turnwise.envs.gui.app import App
from turnwise.envs.gui.calendar import Calendar
from turnwise.envs.gui.files import Files
from turnwise.envs.gui.flight import Flight
from turnwise.envs.gui.helpdesk import HelpDesk
from turnwise.envs.gui.mail import Mail
from turnwise.envs.gui.settings import Settings
from turnwise.envs.gui.sheet import Sheet
from turnwise.envs.gui.shop import Shop

__all__ = ["APPS"]

APPS: Mapping[str, type[App]] = {app.name: app for app in (Calendar, Files, Flight, HelpDesk, Mail, Settings, Sheet, Shop)}
