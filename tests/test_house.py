"""How the package is built: its imports point one way, down, and what TensorBoard imports stays light."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "lightning_gradcam"
NAME = SOURCES.name
FLOORS = ["values", "errors", "cam", "timeline", "pictures", "logs", "training"]  # above are the ways in
WAYS_IN = {"callback", "comparison", "explanation", "reading"}
COMMAND = ["commands", "command", "__main__"]  # goes through the ways in, a floor on top of the other
ROOMS = {f"{NAME}." + ".".join(path.relative_to(SOURCES).with_suffix("").parts): path for path in SOURCES.rglob("*.py")}


@cache
def imports(room: str) -> frozenset[str]:
    """The rooms that a room imports, also inside its functions."""
    nodes = list(ast.walk(ast.parse(ROOMS[room].read_text())))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    assert not any(node.level for node in origins), f"{room} imports relatively"
    named |= {node.module for node in origins} | {
        f"{node.module}.{alias.name}" for node in origins for alias in node.names
    }
    return frozenset(named & ROOMS.keys() - {room})


def wing(room: str) -> str:
    """The folder, or the way in, that a room belongs to."""
    return room.split(".")[1]


def test_every_import_points_down() -> None:
    """A wing knows itself and those below it; no wing knows a way in."""
    rooms = [room for room in ROOMS if wing(room) in FLOORS]
    assert len(rooms) > 20
    for room in rooms:
        below = FLOORS[: FLOORS.index(wing(room)) + 1]
        assert {wing(other) for other in imports(room)} <= set(below), room


def test_the_command_is_on_top() -> None:
    """Its wings know those below each; nothing else in the house knows it."""
    for room in ROOMS:
        known = {wing(other) for other in imports(room)} & set(COMMAND)
        below = COMMAND[: COMMAND.index(wing(room)) + 1] if wing(room) in COMMAND else []
        assert known <= set(below), room


def test_there_is_no_circle() -> None:
    """Also not within a wing."""
    assert len(list(TopologicalSorter({room: imports(room) for room in ROOMS}).static_order())) == len(ROOMS)


def test_the_tab_knows_the_layout_alone() -> None:
    """Of the package only what writer and reader share, and how what was written is read."""
    known = {other for room in ROOMS if wing(room) == "dashboard" for other in imports(room)}
    assert {other for other in known if wing(other) != "dashboard"} == {
        f"{NAME}.logs.schema",
        f"{NAME}.logs.unpacking",
    }


def test_the_ways_in_and_the_wings_are_all_there_is() -> None:
    """A new wing gets a floor."""
    assert {wing(room) for room in ROOMS} == {*FLOORS, *WAYS_IN, *COMMAND, "dashboard", "__init__"}


def test_no_room_goes_through_the_front_door() -> None:
    """The package's root gives the ways in to users; in the house it would lead from any wing up to them."""
    for room, path in ROOMS.items():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert NAME not in named | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}, room
