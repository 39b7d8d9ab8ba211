/**
 * The router's extension of OHIF: the panel "AI", the overlays of slides, photographs and tomographs, and jumping to a
 * finding. An ES module of its own, which app-config.js names and OHIF imports; nothing of OHIF is built again.
 */

import { BasicMode } from './basic_mode.js';
import { Bridge } from './bridge.js';
import { MicroscopyMode } from './microscopy_mode.js';
import { panelModule, openPanel } from './panel.js';
import { SLIDE_HANDLERS, slideHandlers } from './slide_handlers.js';

const ID = 'airouter';
const bridge = new Bridge();
let mode = null;
let entered = new AbortController();

/** OHIF tells an extension of entering a mode, but not which; the address says it. */
const isMicroscopy = () => /\/microscopy(\/|$)/.test(window.location.pathname);

function enter(ohif) {
  leave();
  if (isMicroscopy()) {
    ohif.servicesManager.services.displaySetService.init(ohif.extensionManager, SLIDE_HANDLERS);
    mode = new MicroscopyMode(ohif, bridge);
  } else {
    mode = new BasicMode(ohif, bridge);
  }
  bridge.serve(mode);
  entered = new AbortController();
  openPanel(ohif.servicesManager.services.panelService, `${ID}.panelModule.ai`, bridge, entered.signal);
}

function leave() {
  entered.abort();
  bridge.serve(null);
  mode?.stop();
  mode = null;
}

export default {
  id: ID,
  getPanelModule: () => panelModule(bridge),
  getSopClassHandlerModule: ohif => slideHandlers(ohif, series => mode?.overlays.wish(series)),
  onModeEnter: enter,
  onModeExit: leave,
};
