"""The researcher's console: a page, its feed, who may log in, and what was done."""
