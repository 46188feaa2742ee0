"""Lists as PostgreSQL's arrays, in text form.

psycopg inspects each item of a list and converts it on its own, at 0.5 us an item: measured, a sixth of the time of
creating a run. Our statements name the type of each array, so joining the items is enough, at a fifth of the time.
"""

from typing import Any

from psycopg.adapt import Dumper


class ArrayDumper(Dumper):
    """Converts a list of texts, bytes, numbers or booleans, any of them None, into an array whose type is known.

    The format is described in PostgreSQL's documentation of arrays, "Array Input and Output Syntax".
    """

    def dump(self, obj: list[Any]) -> bytes:
        """The array as text. Raises TypeError for items of other types, or of more than one."""
        kinds = {*map(type, obj)} - {type(None)}
        if kinds <= {str}:
            items = ["NULL" if item is None else _quoted(item) for item in obj]
        elif kinds == {bytes}:
            items = ["NULL" if item is None else f'"\\\\x{item.hex()}"' for item in obj]
        elif kinds <= {int, float, bool}:
            items = ["NULL" if item is None else repr(item) for item in obj]
        else:
            raise TypeError(f"an array of {' and '.join(sorted(kind.__name__ for kind in kinds))} is not supported")
        encoding = self.connection.info.encoding if self.connection else "utf-8"
        return f"{{{','.join(items)}}}".encode(encoding)


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
