"""A household: rooms with places, things that lie about, goals in words, and an expert that knows where all is."""
