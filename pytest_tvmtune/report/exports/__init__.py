"""Reports in other tools' formats."""
