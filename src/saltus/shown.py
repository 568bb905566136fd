"""What shows itself in a notebook, and gives a frame. How is in `saltus.api.notebooks`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltus.extras import require_extra

if TYPE_CHECKING:
    import pyarrow as pa


class Shown:
    """Base of folders, curves, emergences and comparisons."""

    def _repr_html_(self) -> str:
        """The table and the main figure, as a notebook asks for them."""
        return _above().render(self)

    def to_arrow(self) -> "pa.Table":
        """Its numbers as one table, a row for each value or each emergence; columns as in `saltus.api.notebooks`.

        Raises:
            SaltusError: if it has no curves.

        """
        return _above().tabulate(self)

    def to_pandas(self) -> Any:
        """The same as a `pandas.DataFrame`.

        Raises:
            SaltusError: if it has no curves, or pandas is not installed.

        """
        require_extra("pandas", "a frame")
        return self.to_arrow().to_pandas()


def _above() -> Any:
    return import_module("saltus.api.notebooks")
