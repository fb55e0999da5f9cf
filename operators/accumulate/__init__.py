"""Accumulate: units joined with their metrics, and what adds up of them, by experiment.

observed     what the stage is given: rows of one form, whichever topic they came from
config       bounds, and the reasons why something does not count
definitions  which definitions are in force
plan         the same as arrays
units        units with something open or pending
pending      records and decisions that an exposure may still ask for
pairs        each unit once per experiment
queue        which window closes next
ledger       what adds up
counting     a unit's way through an experiment
loop         the rows, one after the other
stage        all of it: `Accumulate`
"""
