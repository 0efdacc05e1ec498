"""A side-scrolling game: its courses, its physics, its two views (text and pixels), and an expert that plans."""
