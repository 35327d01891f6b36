"""Charts as SVG text: pure functions of numbers. Colors are classes, which the page defines for light and dark."""
