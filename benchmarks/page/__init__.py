"""`docs/explanation/performance.md`, made of one run.

`goals`: what was to be reached. `behind`: where others are ahead. `remarks.toml`: why, written by people. `text`: the
page. `plots`: its pictures. Nothing is measured here, and no figure is written by hand.
"""
