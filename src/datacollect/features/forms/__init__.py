"""Events checked against the program's forms, for programs that ask for it."""
