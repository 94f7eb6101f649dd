"""The store: feature tables in `STORE/features/<name>/`, rejected images in `STORE/rejected/<name>/`.

Both are Delta Lake tables. Readers use `open`; pipelines create a table with `create`, and commit to it
through `features.store.commit`.
"""

from features.store.catalog import check_table_name, create, open, table_names
from features.store.streams import dataset
from features.store.table import FeatureTable

__all__ = ["FeatureTable", "check_table_name", "create", "dataset", "open", "table_names"]
