"""Report: one experiment on one page, from its newest readout, its decisions and its definition.

- `about`: the records that a page is made of, and what of them is the declared analysis;
- `words`: figures as a person reads them; what is absent is said;
- `over_time`, `forest`, `deciles`: charts; `tables`: tables;
- `remarks`: sentences on what is missing, what is off, and what it rests on;
- `page`: all of it on one page.
"""
