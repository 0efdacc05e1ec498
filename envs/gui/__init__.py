"""Graphical user interfaces as environments: seeded web apps, without a browser (GuiLite) and in one (Gui)."""
