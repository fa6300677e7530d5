"""Watch where a vision model looks while it trains.

The public names load on first use: importing the package itself imports no torch, so that TensorBoard can import it
for nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_gradcam.callback import GradCAMCallback
    from lightning_gradcam.comparison import Compared, Comparison, compare
    from lightning_gradcam.explanation import Explanation, RemovalCurve, explain
    from lightning_gradcam.reading import AttentionLog, read_log

__all__ = [
    "AttentionLog",
    "Compared",
    "Comparison",
    "Explanation",
    "GradCAMCallback",
    "RemovalCurve",
    "compare",
    "explain",
    "read_log",
]

_ROOMS = {
    "callback": ["GradCAMCallback"],
    "comparison": ["Compared", "Comparison", "compare"],
    "explanation": ["Explanation", "RemovalCurve", "explain"],
    "reading": ["AttentionLog", "read_log"],
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
