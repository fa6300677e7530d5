"""The tab's back end: its static files and views of the data, read through TensorBoard's DataProvider alone."""

import gzip
import json
import logging
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import wraps
from importlib import resources
from threading import Lock
from typing import Any, TypeVar

from tensorboard import errors, plugin_util
from tensorboard.backend.http_util import Respond
from tensorboard.data.provider import RunTagFilter
from tensorboard.plugins import base_plugin
from werkzeug import Request, Response

from lightning_gradcam.logs.schema import MAPS, PLUGIN, ROOT, caution_tag, layer_of, probe_set_of
from lightning_gradcam.logs.unpacking import (
    NUMBERS,
    Data,
    Record,
    Series,
    caution_of,
    mark_of,
    other_names,
    pictures_of,
    strings,
    told_of,
)

logger = logging.getLogger(__name__)

STATIC = re.compile(r"[a-z_]+\.(js|css)")
CONTENT_TYPES = {"js": "text/javascript", "css": "text/css"}
ALL = 1_000_000  # steps: what a DataProvider is asked for at most, for it wants a bound
Told = tuple[dict[str, Any] | None, Data]  # what is known of images, and these
KEPT = 256 * 2**20  # bytes of looks that are kept between requests
DAY = 86_400  # seconds

T = TypeVar("T")
View = Callable[["AttentionPlugin", Request], Response]


class RequestError(Exception):
    """What a request asks for is not there; told with 400, 404 or 409."""

    def __init__(self, reason: str, code: int = 404) -> None:
        super().__init__(reason)
        self.code = code


def _respond(request: Request, content: str | bytes, content_type: str, code: int = 200, expires: int = 0) -> Response:
    response: Response = Respond(request, content, content_type, code=code, expires=expires)
    return response


def _packed(request: Request, content: bytes) -> Response:
    """Bytes, packed for who takes them so: classes and words are mostly alike, and a cluster's line may be slow."""
    if request.accept_encodings.quality("gzip") <= 0:
        return _respond(request, content, "application/octet-stream")
    packed = gzip.compress(content, compresslevel=1)
    response: Response = Respond(request, packed, "application/octet-stream", content_encoding="gzip")
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
        self._kept: OrderedDict[tuple[str, str, str], tuple[Any, Any, int]] = OrderedDict()  # when, what, bytes
        self._reading: defaultdict[tuple[str, str, str], Lock] = defaultdict(Lock)

    def is_active(self) -> bool:
        """Leave it to TensorBoard, which lights the tab when there are data of the plugin."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Name the tab."""
        return base_plugin.FrontendMetadata(es_module_path="/static/index.js", tab_name="Attention")

    def get_plugin_apps(self) -> dict[str, Any]:
        """Return the routes."""
        views = {
            "runs": _runs,
            "probe": _probe,
            "picture": _picture,
            "looks": _looks,
            "maps": _maps,
            "static/*": _static,
        }
        return {f"/{route}": _view(view)(self) for route, view in views.items()}

    def tags(self, request: Request) -> dict[str, dict[str, Any]]:
        """Return the tags of each run, with what TensorBoard knows of their last step."""
        context, experiment = _where(request)
        found = self._provider.list_tensors(context, experiment_id=experiment, plugin_name=PLUGIN)
        return {run: dict(sorted(tags.items())) for run, tags in found.items()}

    def _known(self, request: Request, run: str, tag: str) -> Any:
        """What TensorBoard knows of a tag's last step."""
        known = self.tags(request).get(run, {}).get(tag)
        if known is None:
            raise RequestError(f"there is no {tag!r} in the run {run!r}")
        return known

    def read(self, request: Request, run: str, tag: str) -> list[Record]:
        """Return all steps of one tensor of strings, and when each was written, in that order.

        Raises:
            RequestError: no such run or tag.
        """
        self._known(request, run, tag)
        context, experiment = _where(request)
        found = self._provider.read_tensors(
            context,
            experiment_id=experiment,
            plugin_name=PLUGIN,
            downsample=ALL,
            run_tag_filter=RunTagFilter(runs=[run], tags=[tag]),
        )
        written = sorted(found.get(run, {}).get(tag, []), key=lambda datum: (datum.wall_time, datum.step))
        return [(datum.step, datum.wall_time, strings(datum.numpy)) for datum in written]

    def kept(
        self, request: Request, run: str, tag: str, read_as: Callable[[list[Record], T | None], tuple[T, int]]
    ) -> T:
        """Return what a tag's records are read as, given what they were read as before; it tells its bytes too.

        It is kept while nothing is written: a page asks again and again.

        Raises:
            RequestError: no such run or tag.
        """
        known = self._known(request, run, tag)  # before there is a lock for it: anybody may ask for anything
        place, written = (_where(request)[1], run, tag), (known.max_step, known.max_wall_time)
        with self._reading[place]:  # requests come in several threads, and of a page several at once for the same
            at, made, size = self._kept.pop(place, (None, None, 0))
            if made is None or at != written:
                made, size = read_as(self.read(request, run, tag), made)
            self._kept[place] = written, made, size
            while len(self._kept) > 1 and sum(size for *_, size in [*self._kept.values()]) > KEPT:
                self._kept.popitem(last=False)
        found: T = made
        return found


def _static(plugin: AttentionPlugin, request: Request) -> Response:
    name = request.path.rsplit("/", 1)[-1]
    kind = STATIC.fullmatch(name)
    if not kind:
        raise RequestError("there is no such file")
    try:
        content = (resources.files(__package__) / "static" / name).read_bytes()
    except OSError as error:
        raise RequestError(f"{name} is missing from this installation of lightning-gradcam") from error
    return _respond(request, content, CONTENT_TYPES[kind[1]])


def _runs(plugin: AttentionPlugin, request: Request) -> Response:
    """Each run's layers, by the tags of their maps, each with marks of what was written; null where all is known."""
    runs = {
        run: {
            tag: {
                "layer": layer_of(tag),
                "written": _written(tags, tag, caution_tag(tag)),
                "images": _written(tags, probe_set_of(tag)),
            }
            for tag in tags
            if tag.startswith(f"{ROOT}/") and tag.endswith(f"/{MAPS}")
        }
        for run, tags in plugin.tags(request).items()
    }
    runs = {run: layers for run, layers in runs.items() if layers}
    mark = mark_of([json.dumps(runs)])
    told = {"mark": mark, "runs": None if request.args.get("mark") == mark else runs}
    return _respond(request, json.dumps(told), "application/json")


def _written(tags: dict[str, Any], *names: str) -> str:
    """What tells all under some tags from what was there before."""
    known = (tags.get(name) for name in names)
    return mark_of(f"{one.max_step} {one.max_wall_time!r}" for one in known if one is not None)


def _probe(plugin: AttentionPlugin, request: Request) -> Response:
    """What is known of the images of a layer's maps, of a set or the last; null where they cannot be read."""
    found, _ = _images(plugin, request)
    return _respond(request, json.dumps(found), "application/json")


def _picture(plugin: AttentionPlugin, request: Request) -> Response:
    """One of the images of a set."""
    found, pictures = _images(plugin, request)
    place = _number(request, "image")
    if found is None or found["probe_set"] != _asked(request, "set") or not 0 <= place < len(pictures):
        raise RequestError(f"there is no image {place} of that set")
    return _respond(request, pictures[place], "image/jpeg", expires=DAY)


def _images(plugin: AttentionPlugin, request: Request) -> Told:
    """The images that are asked for by what tells their set from others, else the last that there are."""
    run, tag = _asked(request, "run"), _asked(request, "tag")
    sets = plugin.kept(request, run, probe_set_of(tag), _sets_of)
    return sets.get(request.args.get("set"), (None, [])) if "set" in request.args else next(iter(sets.values()))


def _sets_of(records: list[Record], earlier: object) -> tuple[dict[str | None, Told], int]:
    """Each set of images that can be read, and what is known of them, the last first; nothing where there is none."""
    sets = [(told, parts) for *_, parts in records if (told := told_of(parts))]
    found: dict[str | None, Told] = {}
    for told, parts in reversed(sets):
        if told["probe_set"] not in found and all(pictures_of(parts)):
            is_renamed = other_names(told, [one for one, _ in sets]) is not None
            found[told["probe_set"]] = told | {"renamed": is_renamed}, parts[1:]
    return found or {None: (None, [])}, sum(len(part) for _, pictures in found.values() for part in pictures)


def _series_of(records: list[Record], earlier: Series | None) -> tuple[Series, int]:
    series = Series.of(records, earlier)
    return series, series.size


def _looks(plugin: AttentionPlugin, request: Request) -> Response:
    """A layer's looks without their maps: a line of JSON, then the bytes of each as its `fields` lay them out.

    Whoever has the first `count`, by their `mark`, is given the rest.
    """
    series = plugin.kept(request, _asked(request, "run"), _asked(request, "tag"), _series_of)
    count = _number(request, "count", 0)
    known = count if 0 < count <= len(series.looks) and series.mark(count) == request.args.get("mark") else 0
    rest = series.looks[known:]
    told = {
        "fields": NUMBERS,
        "known": known,
        "mark": series.mark(len(series.looks)),
        "looks": [{"step": look.step, **look.head} for look in rest],
        "broken": series.broken,
        "caution": _caution(plugin, request),
    }
    return _packed(request, json.dumps(told).encode() + b"\n" + b"".join(look.numbers for look in rest))


def _maps(plugin: AttentionPlugin, request: Request) -> Response:
    """The maps of some looks: a line of JSON with how many bytes each has, none where they are broken; then these.

    Asked for by the places that they have for one who knows the first `known`, by their `mark`.
    """
    series = plugin.kept(request, _asked(request, "run"), _asked(request, "tag"), _series_of)
    start, count, known = (_number(request, name) for name in ("start", "count", "known"))
    if not 0 <= start < start + count <= known <= len(series.looks) or series.mark(known) != _asked(request, "mark"):
        raise RequestError("these looks are no longer there", 409)
    maps = [look.maps() for look in series.looks[start : start + count]]
    return _packed(request, json.dumps([len(one) for one in maps]).encode() + b"\n" + b"".join(maps))


def _caution(plugin: AttentionPlugin, request: Request) -> str:
    """What is said of a layer's maps at the end of a fit; "" where nothing is."""
    run, tag = _asked(request, "run"), caution_tag(_asked(request, "tag"))
    if tag not in plugin.tags(request).get(run, {}):
        return ""
    return caution_of(parts for _, _, parts in plugin.read(request, run, tag))


def _where(request: Request) -> tuple[Any, str]:
    return plugin_util.context(request.environ), plugin_util.experiment_id(request.environ)


def _asked(request: Request, name: str) -> str:
    value = request.args.get(name)
    if value is None:
        raise RequestError(f"the parameter {name!r} is missing", 400)
    return value


def _number(request: Request, name: str, usual: int | None = None) -> int:
    value = _asked(request, name) if usual is None else request.args.get(name, str(usual))
    try:
        return int(value)
    except ValueError:
        raise RequestError(f"{name}={value!r} is no whole number", 400) from None
