"""The search engine that needs no server: tantivy for the words, columns for everything else.

    analysis -> textindex -> weighing -> store -> finding   what is searched, how it is answered
    spelling, columns, marking, memory    typos and prefixes; filters; <em>; what was found lately
    home -> keeper -> runner                      the directory, the rebuild beside, the threads

The truth is the database: the directory may be deleted whenever the engine is closed.
"""

from search.embedded.runner import Embedded

__all__ = ["Embedded"]
