"""Teams, repositories and commits of Acme Tracker, a fictional code host."""
