"""Charts that leave the page."""

from xml.etree import ElementTree as ET

from training.evaluate.charts import Plot, round_axis
from training.evaluate.markup import image

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_as_a_file_of_its_own_is_svg_with_its_colours():
    chart = Plot(round_axis("", 1.0), round_axis("", 1.0), "two & more").line([0, 1], [0, 1], "ours", "a < b")

    root = ET.fromstring(image(chart.svg()))
    assert root.tag == f"{SVG}svg"
    assert ".ours" in root.find(f"{SVG}style").text
    assert root.find(f"{SVG}path/{SVG}title").text == "a < b"
