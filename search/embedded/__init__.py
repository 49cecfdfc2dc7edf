"""The search engine that needs no server: tantivy for the words, columns for everything else.

    analysis -> textindex -> store -> finding       what is searched, and how it is answered
    spelling, columns, marking                    typos and prefixes; filters; <em>
    home -> keeper -> runner                      the directory, the rebuild beside, the threads

The truth is the database: the directory may be deleted whenever the engine is closed.
"""

from search.embedded.runner import Embedded

__all__ = ["Embedded"]
