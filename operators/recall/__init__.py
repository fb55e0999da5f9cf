"""Recall: which items may be in a list, and what is known of them, of the user and of the request.

config            settings; `catalogue_config`: those of the catalogue
item_records      records of `ranking.catalogue`, read defensively
item_fields       properties of an item -> columns: numbers, categories, group, risk, offer
catalogue         the table of all items; `shelves`: popular, trending and new ones, in order
memory            what the stage remembers beside the catalogue, in one place
users             what each user did lately, and how much
covisits          which items are visited together
loop              interactions into memory, one after the other: the compiled part
candidates        which items may be in the list of a request
lookups           what is known of users and candidates, all at once: the compiled part
features          names and columns of what the ranker is told
stage             all of it, for one partition
"""
