/**
 * What the microscopy mode does with objects that are drawn over a slide: each becomes a thumbnail that shows it.
 *
 * OHIF's own handlers are not used there: those of SR and ANN throw where a report has no region or an annotation is the
 * first thing opened, and SEG has none.
 */

import { kindOf, refersTo, SOP } from './dicom.js';

const NAME = 'slide-overlays';
const STOCK = '@ohif/extension-dicom-microscopy.sopClassHandlerModule.DicomMicroscopyANNSopClassHandler';

export const SLIDE_HANDLERS = [
  '@ohif/extension-cornerstone.sopClassHandlerModule.DicomMicroscopySopClassHandler',
  `airouter.sopClassHandlerModule.${NAME}`,
  '@ohif/extension-dicom-video.sopClassHandlerModule.dicom-video',
  '@ohif/extension-dicom-pdf.sopClassHandlerModule.dicom-pdf',
];

/** @param {(series: string) => void} show what a click on the thumbnail does */
export function slideHandlers({ servicesManager }, show) {
  const { displaySetService } = servicesManager.services;
  const slides = study =>
    displaySetService.getActiveDisplaySets().filter(set => set.Modality === 'SM' && set.StudyInstanceUID === study);

  function displaySet(instance, instances) {
    return {
      displaySetInstanceUID: `airouter-${instance.SOPInstanceUID}`,
      isOverlayDisplaySet: true,
      isDerived: true,
      isLoaded: false,
      isLoading: false,
      loadError: false,
      plugin: 'microscopy',
      SOPClassHandlerId: STOCK, // OHIF picks the microscopy viewport by this name
      thumbnailSrc: null,
      altImageText: `Microscopy ${kindOf(instance)}`,
      SOPClassUID: instance.SOPClassUID,
      SOPInstanceUID: instance.SOPInstanceUID,
      SeriesInstanceUID: instance.SeriesInstanceUID,
      StudyInstanceUID: instance.StudyInstanceUID,
      Modality: instance.Modality,
      SeriesDescription: instance.SeriesDescription,
      SeriesNumber: instance.SeriesNumber,
      SeriesDate: instance.ContentDate,
      SeriesTime: instance.ContentTime,
      instance,
      instances,
      metadata: instance,
      getSourceDisplaySet: () => {
        const all = slides(instance.StudyInstanceUID);
        return all.find(set => refersTo(instance, set.SeriesInstanceUID)) ?? all[0];
      },
      async load() {
        this.isLoaded = true;
        show(instance.SeriesInstanceUID);
      },
    };
  }

  return [{
    name: NAME,
    sopClassUids: [SOP.SEG, SOP.LABEL_MAP, SOP.ANN, SOP.MAP, ...SOP.SR],
    getDisplaySetsFromSeries: instances => [displaySet(instances[0], instances)],
  }];
}
