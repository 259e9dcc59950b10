"""A recipe: settings for those that the user leaves open."""

from mdn_jax.recipe.table import complete, is_complete, table_recipe

__all__ = ["complete", "is_complete", "table_recipe"]
