"""Where a text names something, when the name alone is given."""

import pytest

from models import mentions


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("Applebee's sues Apple", "Apple", "Apple"),
        ("贵州茅台涨停", "茅台", "茅台"),
        ("shares of apple fell", "Apple", "apple"),
        ("MegaBankCo fell", "Bank", "Bank"),
    ],
)
def test_a_name_is_found_as_a_word_first_then_inside_one_then_in_other_case(text, name, found):
    span = mentions.find(text, name)
    assert text[slice(*span)] == found
    assert span[0] == text.rindex(found)


def test_a_name_inside_a_longer_one_is_looked_for_elsewhere():
    text = "SBI Cards falls, SBI gains"
    assert mentions.find_all(text, ["SBI", "SBI Cards"]) == {"SBI Cards": (0, 9), "SBI": (17, 20)}
    assert mentions.find("nothing here", "SBI") is None
