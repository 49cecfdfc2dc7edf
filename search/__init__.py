"""An index over the models, and the match itself."""
