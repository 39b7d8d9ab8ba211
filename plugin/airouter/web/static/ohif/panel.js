/** The side panel "AI": our own page in a frame, at the right of the viewer. */

import { until } from './wait.js';

let opened = false;

/** An element as React 18 makes it, so that no React has to be shipped for one frame. */
const element = (type, ref, props) => ({
  $$typeof: Symbol.for('react.element'), type, key: null, ref, props, _owner: null, _store: {},
});

/** @param {import('./bridge.js').Bridge} bridge takes the frame when OHIF shows it, and null when it goes */
export function panelModule(bridge) {
  const frame = node => bridge.attach(node);
  const style = { width: '100%', height: '100%', border: 0 };
  const component = () => element('iframe', frame, { title: 'AI findings', style });
  return [{ name: 'ai', iconName: 'clipboard', iconLabel: 'AI', label: 'AI', component }];
}

/**
 * Put the panel at the right, once OHIF has put its own there. The first time it opens by itself, which takes asking
 * until OHIF has drawn the side panels: earlier requests are lost.
 *
 * @param {import('./bridge.js').Bridge} bridge has the frame when the panel is open @param {AbortSignal} signal of leaving
 */
export async function openPanel(panelService, id, bridge, signal) {
  await until(() => panelService.getPanels(panelService.PanelPosition.Right).length, signal);
  if (signal.aborted) return;
  panelService.addPanel(panelService.PanelPosition.Right, id);
  if (opened) return;
  await until(() => bridge.attached || void panelService.activatePanel(id, true), signal);
  opened = bridge.attached;
}
