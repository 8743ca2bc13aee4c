"""The sides of a comparison in turns: each in a process that is stopped between its turns."""
