"""A chart read back as XML."""

import xml.etree.ElementTree as ET


def read(svg: str) -> ET.Element:
    """Fails where it is not well-formed."""
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    """Words in their order."""
    return [one.text or "" for one in read(svg).iter("text")]


def of_class(svg: str, tag: str, name: str) -> list[ET.Element]:
    """Elements with a class among theirs."""
    return [one for one in read(svg).iter(tag) if name in (one.get("class") or "").split()]


def number(element: ET.Element, name: str) -> float:
    """An attribute."""
    return float(element.get(name, "nan"))
