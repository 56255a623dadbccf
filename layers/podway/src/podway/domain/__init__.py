"""Pure decisions on values: no I/O, no clock, no chance, no logging."""
