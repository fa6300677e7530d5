"""Watch where a vision model looks while it trains.

The public names load on first use: importing the package itself imports no torch, so that TensorBoard can import it
for nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_gradcam.callback import GradCAMCallback
    from lightning_gradcam.explanation import Explanation, RemovalCurve, explain

__all__ = ["Explanation", "GradCAMCallback", "RemovalCurve", "explain"]

_HOMES = {"GradCAMCallback": "callback"} | dict.fromkeys(("Explanation", "RemovalCurve", "explain"), "explanation")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
