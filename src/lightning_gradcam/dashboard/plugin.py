"""The tab's back end: two static files and three views of the data, read through TensorBoard's DataProvider alone."""

import base64
import json
import logging
import math
from collections.abc import Callable, Iterable
from functools import wraps
from importlib import resources
from typing import Any

from tensorboard import errors, plugin_util
from tensorboard.backend.http_util import Respond
from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins import base_plugin
from werkzeug import Request, Response

from lightning_gradcam.logs.schema import (
    LOOK,
    MAPS,
    PLUGIN,
    ROOT,
    VERSION,
    caution_of,
    inflated,
    layer_of,
    probe_set_of,
)

logger = logging.getLogger(__name__)

STATIC = {"/index.js": "text/javascript", "/style.css": "text/css"}
MOST = 64 * 2**20  # bytes of a look that is unpacked
ALL = 1_000_000  # steps: what a DataProvider is asked for at most, for it wants a bound

Data = list[bytes]
View = Callable[["AttentionPlugin", Request], Response]


class RequestError(Exception):
    """What a request asks for is not there; told with 400 or 404."""

    def __init__(self, reason: str, code: int = 404) -> None:
        super().__init__(reason)
        self.code = code


def _respond(request: Request, content: str | bytes, content_type: str, code: int = 200) -> Response:
    response: Response = Respond(request, content, content_type, code=code)
    return response


def _view(view: View) -> Callable[["AttentionPlugin"], Any]:
    """Answer GET alone; what cannot be answered is told in one sentence, and never by a traceback."""

    def bind(plugin: "AttentionPlugin") -> Any:
        @wraps(view)
        def answer(request: Request) -> Response:
            try:
                if request.method != "GET":
                    raise RequestError(f"{request.method} is not answered here; GET is", 400)
                return view(plugin, request)
            except RequestError as bad:
                return _respond(request, str(bad), "text/plain", code=bad.code)
            except errors.PublicError as error:
                return _respond(request, str(error), "text/plain", code=error.http_code)
            except Exception as error:
                logger.exception("lightning-gradcam: %s", request.path)
                return _respond(request, f"{type(error).__name__} in the Attention tab", "text/plain", code=500)

        return Request.application(answer)

    return bind


class AttentionPlugin(base_plugin.TBPlugin):
    """Attention over the epochs."""

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._provider = context.data_provider

    def is_active(self) -> bool:
        """Leave it to TensorBoard, which lights the tab when there are data of the plugin."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Name the tab."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Attention")

    def get_plugin_apps(self) -> dict[str, Any]:
        """Return the routes."""
        views = {"/runs": _runs, "/probe": _probe, "/maps": _maps} | dict.fromkeys(STATIC, _static)
        return {route: _view(view)(self) for route, view in views.items()}

    def tags(self, request: Request) -> dict[str, list[str]]:
        """Return the tags of each run."""
        context, experiment = _where(request)
        found = self._provider.list_tensors(context, experiment_id=experiment, plugin_name=PLUGIN)
        return {run: sorted(tags) for run, tags in found.items()}

    def read(self, request: Request, run: str, tag: str) -> list[tuple[int, Data]]:
        """Return all steps of one tensor of strings, in the order in which they were written.

        Raises:
            RequestError: no such run or tag.
        """
        if tag not in self.tags(request).get(run, []):
            raise RequestError(f"there is no {tag!r} in the run {run!r}")
        context, experiment = _where(request)
        found = self._provider.read_tensors(
            context,
            experiment_id=experiment,
            plugin_name=PLUGIN,
            downsample=ALL,
            run_tag_filter=RunTagFilter(runs=[run], tags=[tag]),
        )
        written = sorted(found.get(run, {}).get(tag, []), key=lambda datum: (datum.wall_time, datum.step))
        return [(datum.step, _strings(datum.numpy)) for datum in written]


def _static(plugin: AttentionPlugin, request: Request) -> Response:
    name = "/" + request.path.rsplit("/", 1)[-1]
    if name not in STATIC:
        raise RequestError("there is no such file")
    try:
        content = (resources.files(__package__) / "static" / name[1:]).read_bytes()
    except OSError as error:
        raise RequestError(f"{name[1:]} is missing from this installation of lightning-gradcam") from error
    return _respond(request, content, STATIC[name])


def _runs(plugin: AttentionPlugin, request: Request) -> Response:
    """Each run's layers, by the tags of their maps."""
    runs = {
        run: {tag: layer_of(tag) for tag in tags if tag.startswith(f"{ROOT}/") and tag.endswith(f"/{MAPS}")}
        for run, tags in plugin.tags(request).items()
    }
    return _respond(request, json.dumps({run: layers for run, layers in runs.items() if layers}), "application/json")


def _probe(plugin: AttentionPlugin, request: Request) -> Response:
    """The images of a layer's maps, as data: URLs, and what is known of them; null where none can be read."""
    found = None
    for _, parts in plugin.read(request, _asked(request, "run"), probe_set_of(_asked(request, "tag"))):
        header = _probe_header(parts)
        if header is not None:
            images = ["data:image/jpeg;base64," + base64.b64encode(part).decode() for part in parts[1:]]
            found = {**header, "images": images}
    return _respond(request, json.dumps(found), "application/json")


def _maps(plugin: AttentionPlugin, request: Request) -> Response:
    """A layer's looks behind a step: a line of JSON, then the bytes of each as its `fields` lay them out."""
    after = _step(request)
    looks: dict[int, tuple[dict[str, Any], bytes]] = {}
    broken = 0
    for step, parts in plugin.read(request, _asked(request, "run"), _asked(request, "tag")):
        found = _look(parts)
        if found is None:
            broken += 1
            continue
        for later in [one for one in looks if one >= step]:  # of a branch that a resumed run has left
            del looks[later]
        looks[step] = found
    shown = {step: look for step, look in looks.items() if step > after}
    heads = [{"step": step, **head} for step, (head, _) in shown.items()]
    told = {"fields": LOOK, "looks": heads, "broken": broken, "caution": _caution(plugin, request)}
    content = json.dumps(told).encode() + b"\n" + b"".join(arrays for _, arrays in shown.values())
    return _respond(request, content, "application/octet-stream")


def _caution(plugin: AttentionPlugin, request: Request) -> str:
    """What is said of a layer's maps at the end of a fit; "" where nothing is."""
    run, tag = _asked(request, "run"), caution_of(_asked(request, "tag"))
    if tag not in plugin.tags(request).get(run, []):
        return ""
    found = [header for _, parts in plugin.read(request, run, tag) if (header := _header(parts))]
    told = found[-1].get("told") if found else ""
    return told if isinstance(told, str) else ""


def _where(request: Request) -> tuple[Any, str]:
    return plugin_util.context(request.environ), plugin_util.experiment_id(request.environ)


def _asked(request: Request, name: str) -> str:
    value = request.args.get(name)
    if value is None:
        raise RequestError(f"the parameter {name!r} is missing", 400)
    return value


def _step(request: Request) -> int:
    value = request.args.get("after", "-1")
    try:
        return int(value)
    except ValueError:
        raise RequestError(f"after={value!r} is no step", 400) from None


def _strings(array: Any) -> Data:
    parts: Iterable[object] = array.ravel().tolist()
    return [part if isinstance(part, bytes) else b"" for part in parts]


def _header(parts: Data) -> dict[str, Any] | None:
    """The header of a tensor that this version can read, else None."""
    try:
        header = json.loads(parts[0], parse_constant=_refuse)
    except (ValueError, IndexError, RecursionError):
        return None
    return header if isinstance(header, dict) and header.get("version") == VERSION else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _probe_header(parts: Data) -> dict[str, Any] | None:
    """The header, if all of it is what the tab will read, and every image a JPEG."""
    header = _header(parts)
    if header is None or not all(part.startswith(b"\xff\xd8\xff") for part in parts[1:]):
        return None
    names = ("probe_set", "fingerprints", "truths", "said", "class_names", "columns", "about")
    told = {name: header.get(name) for name in names}
    told |= {"unit": header.get("unit", "epoch"), "metrics": _words(header.get("metrics", {}))}
    named = _are(told["columns"], str) and (told["class_names"] is None or _are(told["class_names"], str))
    words = named and isinstance(told["about"], str) and isinstance(told["probe_set"], str)
    words = words and told["unit"] in ("epoch", "step")
    truths, known = told["truths"], told["fingerprints"]
    of_images = isinstance(truths, list) and all(isinstance(one, list) and all(map(_is_number, one)) for one in truths)
    in_words = _are(known, str) and _are(told["said"], str)
    counts = {len(one or []) for one in (truths, known, told["said"])}
    return told if words and of_images and in_words and counts == {len(parts) - 1} else None


def _words(metrics: Any) -> dict[str, dict[str, str]]:
    """What has to be known to read each number, as far as it is words."""
    named = metrics.items() if isinstance(metrics, dict) else ()
    wanted = {"says", "direction", "chance", "failing"}
    whole = {name: words for name, words in named if isinstance(words, dict) and words.keys() == wanted}
    return {name: words for name, words in whole.items() if _are(list(words.values()), str)}


def _is_number(value: Any) -> bool:
    return (type(value) is int and abs(value) < 2**53) or (type(value) is float and math.isfinite(value))


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _look(parts: Data) -> tuple[dict[str, Any], bytes] | None:
    """The header and the arrays, one behind the other, if all is as the header says."""
    header = _header(parts)
    if header is None:
        return None
    given, metrics, probe_set = (header.get(name) for name in ("sizes", "metrics", "probe_set"))
    axes = sorted(set("".join(field.axes for field in LOOK)))
    sizes: dict[str, Any] = {axis: given.get(axis) for axis in axes} if isinstance(given, dict) else {}
    if not sizes or not all(type(size) is int and size >= 0 for size in sizes.values()):
        return None
    if not _are(metrics, str) or len(metrics or ()) != sizes["M"] or not isinstance(probe_set, str):
        return None
    if min(sizes[axis] for axis in "NThw") == 0 or len(parts) != 1 + len(LOOK):
        return None
    if sum(field.length(sizes) for field in LOOK) > MOST:
        return None
    told = {"probe_set": probe_set, "sizes": sizes, "metrics": metrics}
    try:
        pairs = zip(LOOK, parts[1:], strict=True)
        arrays = {field.name: inflated(part, field.length(sizes)) for field, part in pairs}
        answers = json.loads(arrays["answers"], parse_constant=_refuse)
    except (ValueError, OverflowError, RecursionError):  # of any length that a header may say
        return None
    return (told, b"".join(arrays.values())) if _are(answers, str) and len(answers) == sizes["N"] else None
