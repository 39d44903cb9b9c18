"""The ground every stage stands on: nouns, workspace, journal, errors, and the one door to other programs."""
