"""Every application at mini scale by one command, and what came out as one page."""
