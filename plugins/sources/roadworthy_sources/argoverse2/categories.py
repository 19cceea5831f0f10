"""Argoverse 2 object categories as agent kinds.

The kinds are nuPlan's, and so are the rules for what belongs where: motorcycles and other
two-wheelers count as bicycles, animals and permanent poles as generic objects.
"""

from __future__ import annotations

from roadworthy.scenario import AgentKind

__all__ = [
    "EGO_CATEGORY",
    "FORECASTING_KIND",
    "FORECASTING_SIZE",
    "RIDDEN",
    "RIDERS",
    "SENSOR_KIND",
]

EGO_CATEGORY = "EGO_VEHICLE"

SENSOR_KIND: dict[str, AgentKind] = {
    "ANIMAL": AgentKind.GENERIC_OBJECT,
    "ARTICULATED_BUS": AgentKind.VEHICLE,
    "BICYCLE": AgentKind.BICYCLE,
    "BICYCLIST": AgentKind.BICYCLE,
    "BOLLARD": AgentKind.GENERIC_OBJECT,
    "BOX_TRUCK": AgentKind.VEHICLE,
    "BUS": AgentKind.VEHICLE,
    "CONSTRUCTION_BARREL": AgentKind.BARRIER,
    "CONSTRUCTION_CONE": AgentKind.TRAFFIC_CONE,
    "DOG": AgentKind.GENERIC_OBJECT,
    "LARGE_VEHICLE": AgentKind.VEHICLE,
    "MESSAGE_BOARD_TRAILER": AgentKind.CZONE_SIGN,
    "MOBILE_PEDESTRIAN_CROSSING_SIGN": AgentKind.CZONE_SIGN,
    "MOTORCYCLE": AgentKind.BICYCLE,
    "MOTORCYCLIST": AgentKind.BICYCLE,
    "OFFICIAL_SIGNALER": AgentKind.PEDESTRIAN,
    "PEDESTRIAN": AgentKind.PEDESTRIAN,
    "RAILED_VEHICLE": AgentKind.VEHICLE,
    "REGULAR_VEHICLE": AgentKind.VEHICLE,
    "SCHOOL_BUS": AgentKind.VEHICLE,
    "SIGN": AgentKind.GENERIC_OBJECT,
    "STOP_SIGN": AgentKind.GENERIC_OBJECT,
    "STROLLER": AgentKind.PEDESTRIAN,
    "TRAFFIC_LIGHT_TRAILER": AgentKind.CZONE_SIGN,
    "TRUCK": AgentKind.VEHICLE,
    "TRUCK_CAB": AgentKind.VEHICLE,
    "VEHICULAR_TRAILER": AgentKind.VEHICLE,
    "WHEELCHAIR": AgentKind.PEDESTRIAN,
    "WHEELED_DEVICE": AgentKind.BICYCLE,
    "WHEELED_RIDER": AgentKind.BICYCLE,
}
"""The 30 categories of the sensor data set's annotations."""

RIDERS = frozenset({"BICYCLIST", "MOTORCYCLIST", "WHEELED_RIDER"})
"""People on a two-wheeler or other small vehicle, annotated apart from what they ride."""

RIDDEN = frozenset({"BICYCLE", "MOTORCYCLE", "WHEELED_DEVICE"})
"""What riders ride."""

FORECASTING_KIND: dict[str, AgentKind] = {
    "vehicle": AgentKind.VEHICLE,
    "pedestrian": AgentKind.PEDESTRIAN,
    "motorcyclist": AgentKind.BICYCLE,
    "cyclist": AgentKind.BICYCLE,
    "bus": AgentKind.VEHICLE,
    "static": AgentKind.GENERIC_OBJECT,
    "background": AgentKind.GENERIC_OBJECT,
    "construction": AgentKind.TRAFFIC_CONE,
    "riderless_bicycle": AgentKind.BICYCLE,
    "unknown": AgentKind.GENERIC_OBJECT,
}
"""The 10 object types of the motion forecasting data set."""

FORECASTING_SIZE: dict[str, tuple[float, float, float]] = {
    "vehicle": (4.5, 1.95, 1.7),
    "pedestrian": (0.7, 0.7, 1.75),
    "motorcyclist": (2.1, 0.8, 1.7),
    "cyclist": (1.8, 0.7, 1.7),
    "bus": (12.0, 2.6, 3.2),
    "static": (0.5, 0.5, 1.0),
    "background": (0.5, 0.5, 1.0),
    "construction": (0.4, 0.4, 0.9),
    "riderless_bicycle": (1.7, 0.55, 1.2),
    "unknown": (0.5, 0.5, 1.0),
}
"""Length, width, height [m]. The motion forecasting data set has no sizes; these are round
figures near the means of the sensor data set's annotations."""
