"""What a map may be, in words that need no torch."""

SHOWN, BLANK, NOT_FINITE = range(3)  # heat, no positive evidence, no finite numbers
STATES = ("shown", "blank", "not finite")  # their names
