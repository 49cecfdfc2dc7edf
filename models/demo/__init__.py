"""The demo town: Qiaobei, its neighbours and Zhanggong, in two languages, the same everywhere.

`town.town(today)` makes it, `loader.load()` writes it through the models' own verbs. The texts
are data: `stories.json` and `needs.json` by hand, `neighbourhood.json` for what is drawn.
"""
