"""Walk through docs/qgis.md in QGIS itself and take its pictures, on a virtual screen.

    python plugins/qgis/package.py -o /tmp/plugin.zip
    HOME=/home/me PLUGIN=/tmp/plugin.zip DUALSR_GEO=/path/of/environment \
        xvfb-run -a -s "-screen 0 1280x800x24" qgis --nologo --code plugins/qgis/pictures.py

Every step is that of a user: QGIS's installer installs the zip, the options and
dialogs are filled in and their buttons clicked. PATH must not hold the command, or there is no warning to show.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import processing
import pyplugin_installer
from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QStandardItem
from qgis.PyQt.QtWidgets import QApplication, QDockWidget, QLineEdit, QProgressBar, QTreeView, QWidget
from qgis.utils import iface

# QGIS runs this text without its file's name: start it in the repository's root.
PICTURES = Path("docs/images/qgis").absolute()
ZIP, ENVIRONMENT = os.environ["PLUGIN"], os.environ["DUALSR_GEO"]
FOLDER = Path.home() / "trial"
INSTALL_FROM_ZIP = 6
SIZE, SMALL = (1180, 720), (800, 480)


def picture(widget: QWidget, name: str) -> None:
    """Save a picture of a widget."""
    settle()
    widget.grab().save(str(PICTURES / f"{name}.png"))


def settle(seconds: float = 1.0) -> None:
    """Let QGIS work for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.02)


def wait(what: Callable[[], bool], seconds: float = 240) -> None:
    """Let QGIS work until a condition holds."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} is not so after {seconds:g} s")
        settle(0.1)


def within(open_dialog: Callable[[], object], act: Callable[[QWidget], None]) -> None:
    """Open a modal dialog, do something in it, close it."""

    def when_open() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(200, when_open)
            return
        try:
            act(dialog)
        finally:
            dialog.close()

    QTimer.singleShot(500, when_open)
    open_dialog()


def install() -> None:
    """Install the zip, as `Plugins > Manage and Install Plugins > Install from ZIP` does."""

    def show(dialog: QWidget) -> None:
        dialog.resize(820, 460)
        for field in dialog.findChildren(QLineEdit):
            if field.isVisible():
                field.setText(ZIP)
        picture(dialog, "install")

    within(lambda: iface.pluginManagerInterface().showPluginManager(INSTALL_FROM_ZIP), show)
    iface.messageBar().clearWidgets()
    pyplugin_installer.instance().installFromZipFile(ZIP)
    wait(lambda: QgsApplication.processingRegistry().providerById("dualsr") is not None)
    picture(iface.mainWindow(), "missing")
    iface.messageBar().clearWidgets()


def choose() -> None:
    """Give the environment in the options of Processing."""

    def show(dialog: QWidget) -> None:
        dialog.resize(900, 480)
        tree = next(t for t in dialog.findChildren(QTreeView) if t.isVisible() and t.model().columnCount() == 2)
        model = tree.model()
        providers = child(model.invisibleRootItem(), "Providers")
        ours = child(providers, "dualsr-geo")
        for item in (providers, ours):
            tree.expand(item.index())
        field = ours.child(0, 1)
        field.setText(ENVIRONMENT)
        tree.setColumnWidth(0, 300)
        tree.scrollTo(field.index(), QTreeView.PositionAtCenter)
        picture(dialog, "options")
        dialog.accept()

    within(lambda: iface.showOptionsDialog(iface.mainWindow(), "processingOptions"), show)
    wait(lambda: ProcessingConfig.getSetting("DUALSR_GEO_PROGRAM") == ENVIRONMENT, 5)


def child(parent: QStandardItem, name: str) -> QStandardItem:
    """Return an item of the options by its name."""
    return next(parent.child(i) for i in range(parent.rowCount()) if parent.child(i).text() == name)


def toolbox() -> None:
    """Open the toolbox at our provider."""
    dock = iface.mainWindow().findChild(QDockWidget, "ProcessingToolbox")
    dock.show()
    tree = dock.findChild(QTreeView)
    model = tree.model()
    (found,) = model.match(model.index(0, 0), Qt.DisplayRole, "dualsr-geo", 1, Qt.MatchRecursive)
    tree.expand(found)
    tree.scrollTo(found, QTreeView.PositionAtTop)
    iface.mainWindow().resizeDocks([dock], [380], Qt.Horizontal)
    picture(iface.mainWindow(), "toolbox")
    dock.hide()
    iface.mainWindow().resize(*SMALL)


def run(name: str, parameters: dict[str, object]) -> None:
    """Open the dialog of an algorithm, fill it in, click Run, wait for its end."""
    dialog = processing.createAlgorithmDialog(f"dualsr:{name}", parameters)
    dialog.resize(820, 560)
    dialog.show()
    if name == "upscale":
        picture(dialog, "upscale")
    dialog.runButton().click()
    settle(2)
    wait(lambda: dialog.runButton().isEnabled())
    if name == "upscale":
        picture(dialog, "upscale_log")
    dialog.close()


def cancel(name: str, parameters: dict[str, object]) -> None:
    """Start an algorithm, and click Cancel once the first tiles are done."""
    dialog = processing.createAlgorithmDialog(f"dualsr:{name}", parameters)
    dialog.resize(820, 560)
    dialog.show()
    dialog.runButton().click()
    wait(lambda: dialog.findChild(QProgressBar).value() > 20)
    dialog.cancelButton().click()
    wait(lambda: dialog.runButton().isEnabled())
    picture(dialog, "cancelled")
    dialog.close()


def look_at(layer: QgsRasterLayer, name: str) -> None:
    """Show one layer in the window, at a corner where the difference is visible."""
    root = QgsProject.instance().layerTreeRoot()
    for each in root.findLayers():
        each.setExpanded(False)
        each.setItemVisibilityChecked(each.layerId() == layer.id())
    extent = layer.extent()
    extent.scale(0.35)
    iface.mapCanvas().setExtent(extent)
    iface.mapCanvas().refresh()
    iface.messageBar().clearWidgets()
    settle(3)
    picture(iface.mainWindow(), name)


def layer_of(name: str) -> QgsRasterLayer:
    """Return a layer of the project."""
    wait(lambda: QgsProject.instance().mapLayersByName(name) != [], 10)
    return QgsProject.instance().mapLayersByName(name)[0]


def walk() -> None:
    """Do what the page says, from the zip to the sharpened layer."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    window = iface.mainWindow()
    window.resize(*SIZE)
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() == "Layers")
    iface.newProject()
    settle()
    install()
    choose()
    toolbox()
    run("sample", {"FOLDER": str(FOLDER)})
    look_at(layer_of("scene"), "scene")
    wanted = {"SCENE": layer_of("scene").id(), "GUIDE": layer_of("pan").id(), "OUTPUT": str(FOLDER / "sharp.tif")}
    cancel("upscale", {**wanted, "EXTRA": "--tile 16 --jobs 1"})
    run("upscale", wanted)
    look_at(layer_of("sharp"), "sharp")


def main() -> None:
    """Walk, and leave QGIS with the exit code of the walk."""
    code = 1
    try:
        walk()
        code = 0
    except Exception:  # noqa: BLE001  # QGIS would show a window and stay
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        # QGIS would ask whether to save the project.
        os._exit(code)


QTimer.singleShot(3000, main)
