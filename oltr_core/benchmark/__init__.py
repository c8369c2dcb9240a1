"""Published tables, ours beside them.

`table` says what is compared, `methods` its rows and `image_sets` its data; `cell` measures one row on one seed and
`run` all that are missing; `records` holds them and `page` writes the page.
"""
