import sys

from dualsr_geo.training.command_line import command_line


def test_the_card_records_the_command_without_secrets(monkeypatch):
    address = "https://user:pass@host/pan.tif?sig=abcdef"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dualsr-geo", "train", "scene.tif", "--rgb", address])
    assert command_line() == "dualsr-geo train scene.tif --rgb https://host/pan.tif"
