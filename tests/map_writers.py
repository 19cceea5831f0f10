"""Writes small synthetic maps: Lanelet2 (OSM XML) and OpenDRIVE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

ORIGIN = (49.0, 8.4)
_METRES_PER_DEGREE = 111_320.0


class OsmWriter:
    """Collects nodes, ways and relations; points are metres from `ORIGIN`."""

    def __init__(self) -> None:
        self.parts: dict[str, list[str]] = {"node": [], "way": [], "relation": []}
        self.known: dict[tuple[float, float], int] = {}
        self.count = 0

    def _id(self) -> int:
        self.count += 1
        return self.count

    def node(self, x: float, y: float) -> int:
        key = (round(x, 6), round(y, 6))
        if key not in self.known:
            self.known[key] = name = self._id()
            lat = ORIGIN[0] + y / _METRES_PER_DEGREE
            lon = ORIGIN[1] + x / (_METRES_PER_DEGREE * np.cos(np.deg2rad(ORIGIN[0])))
            self.parts["node"].append(f'<node id="{name}" lat="{lat:.12f}" lon="{lon:.12f}"/>')
        return self.known[key]

    def way(self, points: Iterable[tuple[float, float]], **tags: str) -> int:
        name = self._id()
        refs = "".join(f'<nd ref="{self.node(x, y)}"/>' for x, y in points)
        self.parts["way"].append(f'<way id="{name}">{refs}{_tags(tags)}</way>')
        return name

    def relation(self, members: Iterable[tuple[str, str, int]], tags: Mapping[str, str]) -> int:
        name = self._id()
        refs = "".join(f'<member type="{t}" role="{r}" ref="{ref}"/>' for t, r, ref in members)
        self.parts["relation"].append(f'<relation id="{name}">{refs}{_tags(tags)}</relation>')
        return name

    def lanelet(self, left: int, right: int, *rules: int, **tags: str) -> int:
        members = [("way", "left", left), ("way", "right", right)]
        members += [("relation", "regulatory_element", rule) for rule in rules]
        full = {"type": "lanelet", "subtype": "road"} | {k.replace("__", ":"): v
                                                         for k, v in tags.items()}  # fmt: skip
        return self.relation(members, full)

    def text(self) -> str:
        body = "".join("".join(rows) for rows in self.parts.values())
        return f'<?xml version="1.0"?><osm version="0.6">{body}</osm>'


def _tags(tags: Mapping[str, str]) -> str:
    return "".join(f'<tag k="{k}" v="{v}"/>' for k, v in tags.items())


def lanelet2_street() -> tuple[str, dict[str, int]]:
    """Two lanes ahead for 80 m, then 80 m more; the left bound runs backwards in the file.

    Returns:
        The file, and the lanelets by name: `a0`, `a1` (right lane), `b0`, `b1` (left lane),
        `walk` (a crosswalk).
    """
    osm = OsmWriter()
    names = {}
    stop = osm.way([(78.0, -1.75), (78.0, 1.75)], type="stop_line")
    rule = osm.relation([("way", "ref_line", stop)], {"type": "regulatory_element",
                                                      "subtype": "traffic_light"})  # fmt: skip
    for k, (x0, x1) in enumerate(((0.0, 80.0), (80.0, 160.0))):
        right = osm.way([(x0, -1.75), (x1, -1.75)], type="road_border")
        between = osm.way([(x0, 1.75), (x1, 1.75)], type="line_thin", subtype="dashed")
        left = osm.way([(x1, 5.25), (x0, 5.25)], type="line_thin", subtype="solid")
        rules = (rule,) if k == 0 else ()
        names[f"a{k}"] = osm.lanelet(between, right, *rules, speed_limit="30 km/h", one_way="yes")
        names[f"b{k}"] = osm.lanelet(left, between, one_way="yes")
    one = osm.way([(100.0, -2.0), (100.0, 6.0)])
    two = osm.way([(104.0, -2.0), (104.0, 6.0)])
    names["walk"] = osm.lanelet(one, two, subtype="crosswalk")
    return osm.text(), names


def xodr_road(
    name: str, geometry: str, length: float, lanes: str, link: str = "", junction: str = "-1",
    more: str = "",
) -> str:  # fmt: skip
    """A road of one geometry and one lane section, with a speed limit of 36 km/h."""
    return (
        f'<road id="{name}" length="{length}" junction="{junction}"><link>{link}</link>'
        f'<type s="0" type="town"><speed max="36" unit="km/h"/></type>'
        f"<planView>{geometry}</planView>"
        f'<lanes><laneSection s="0">{lanes}</laneSection></lanes>{more}</road>'
    )


def xodr_geometry(
    x: float, y: float, heading: float, length: float, shape: str = "<line/>", s: float = 0.0
) -> str:
    return f'<geometry s="{s}" x="{x}" y="{y}" hdg="{heading}" length="{length}">{shape}</geometry>'


def xodr_lane(name: int, kind: str = "driving", width: float = 3.5, link: str = "",
              mark: str = "broken") -> str:  # fmt: skip
    return (
        f'<lane id="{name}" type="{kind}"><link>{link}</link>'
        f'<width sOffset="0" a="{width}" b="0" c="0" d="0"/>'
        f'<roadMark sOffset="0" type="{mark}"/></lane>'
    )


def xodr_two_way(after: bool = True) -> str:
    """One lane on the left (against the road), two on the right and a shoulder."""
    link = '<successor id="-1"/>' if after else '<predecessor id="-1"/>'
    return (
        f'<left>{xodr_lane(1, mark="solid")}</left><center><lane id="0" type="none"/></center>'
        f"<right>{xodr_lane(-1, link=link)}{xodr_lane(-2, mark='solid')}"
        f"{xodr_lane(-3, 'shoulder', 1.0)}</right>"
    )


def opendrive_town() -> str:
    """Road 1 for 60 m along x, a junction with an arc to the left (road 2, radius 20), and road 3
    going north."""
    quarter = 10.0 * np.pi
    arc = xodr_geometry(60, 0, 0, quarter, '<arc curvature="0.05"/>')
    only = (
        '<center><lane id="0" type="none"/></center><right>'
        + xodr_lane(-1, link='<predecessor id="-1"/><successor id="-1"/>')
        + "</right>"
    )
    crosswalk = (
        '<objects><object id="1" type="crosswalk" s="50" t="0" hdg="0"><outline>'
        '<cornerLocal u="-2" v="-8"/><cornerLocal u="2" v="-8"/><cornerLocal u="2" v="4"/>'
        '<cornerLocal u="-2" v="4"/></outline></object></objects>'
    )
    roads = [
        xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, xodr_two_way(),
                  '<successor elementType="junction" elementId="9"/>', more=crosswalk),
        xodr_road("2", arc, quarter, only,
                  '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
                  '<successor elementType="road" elementId="3" contactPoint="start"/>', "9"),
        xodr_road("3", xodr_geometry(80, 20, np.pi / 2, 80), 80.0, xodr_two_way(False),
                  '<predecessor elementType="junction" elementId="9"/>'),
    ]  # fmt: skip
    junction = (
        '<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="2" '
        'contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction>'
    )
    body = "".join(roads) + junction
    return f'<?xml version="1.0"?><OpenDRIVE><header revMajor="1"/>{body}</OpenDRIVE>'
