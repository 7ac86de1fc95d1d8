"""The fleet as its operator sees it: the units' newest reports, and the page."""
