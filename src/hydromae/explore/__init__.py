"""A page on which a record and a model are explored: hide days, move an issue day, see the answer beside the truth."""
