"""People, places and things that the apps are filled with."""

__all__ = ["CITIES", "FIRST", "LAST", "PHRASES", "STREETS", "TOPICS"]

FIRST = (
    *("Ada", "Ben", "Clara", "David", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mona", "Nils", "Olga"),
    *("Pavel", "Quinn", "Rosa", "Sven", "Tara", "Umar", "Vera", "Wanda", "Yusuf", "Zoe"),
)
LAST = (
    *("Adler", "Brandt", "Costa", "Dale", "Evans", "Fischer", "Green", "Haas", "Ito", "Jensen", "Klein", "Lopez", "Moreau"),
    *("Novak", "Okoye", "Petrov", "Rossi", "Silva", "Tanaka", "Weber"),
)
CITIES = (
    *("Athens", "Bergen", "Cairo", "Dublin", "Geneva", "Helsinki", "Krakow", "Lisbon", "Madrid", "Nairobi", "Oslo", "Porto"),
    *("Quito", "Riga", "Sofia", "Tokyo", "Utrecht", "Vienna", "Warsaw", "Zurich"),
)
STREETS = ("Mill Lane", "Oak Street", "Harbour Road", "Station Square", "Garden Row", "Hill Street", "Park Avenue", "Bridge Road")
TOPICS = (
    *("Budget", "Contract", "Delivery", "Draft report", "Invoice", "Interview", "Lunch", "Meeting notes", "Menu", "Newsletter"),
    *("Office keys", "Parking", "Photos", "Presentation", "Proposal", "Receipt", "Schedule", "Survey", "Tickets", "Workshop"),
)
PHRASES = (
    *("Thank you, that works for me.", "I will be there at nine.", "Please send me the final version.", "Let us talk on Monday."),
    *("Could you call me back?", "The numbers look right to me.", "I am out of office until Friday.", "Yes, go ahead."),
    *("Please move it to next week.", "I have no objections.", "Can we meet at the station?", "The room is booked for us."),
    *("We need two more chairs.", "The printer is working again.", "Our train is late.", "I have signed the papers."),
)
