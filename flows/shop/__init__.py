"""A made-up shop with its truth: items, users with tastes, lists and what users do with them. One seed decides it all.

world    who sells what at which price, and who likes what
visits   who comes when, and asks for which lists
shop     the same as records of Metarank; what users do with a list; how good a list really is
loop     lists are asked for, ranked by whoever it is, shown and clicked
inside   the loop with the flows of ranking in one process, without a broker
"""
