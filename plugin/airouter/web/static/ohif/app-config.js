// How OHIF runs inside Orthanc. Served as /ohif/app-config.js; OHIF reads window.config when it starts.
window.config = {
  name: 'airouter',
  routerBasename: '/ohif/',
  // An entry that is an address is imported as an ES module, and its default export registered as an extension.
  extensions: ['/ai/static/ohif/airouter.js'],
  modes: [],
  customizationService: [{ 'ohif.tours': { $set: [] } }], // the tour covers the image
  showStudyList: true,
  // Without its question OHIF opens a segmentation while the viewport is still built: B-scans came up turned by 90
  // degrees and without their overlay.
  disableConfirmationPrompts: false,
  maxNumberOfWebWorkers: 2,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 20, thumbnail: 5, prefetch: 10 },
  showErrorDetails: 'always',
  defaultDataSourceName: 'orthanc',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'orthanc',
      configuration: {
        friendlyName: 'Orthanc',
        name: 'orthanc',
        qidoRoot: '/ai/dicom-web',
        wadoRoot: '/ai/dicom-web',
        qidoSupportsIncludeField: true,
        supportsReject: false,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        staticWado: false,
        singlepart: 'bulkdata,video',
        dicomUploadEnabled: false,
        omitQuotationForMultipartRequest: true,
        acceptHeader: ['multipart/related; type=application/octet-stream; transfer-syntax=*'],
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
      },
    },
  ],
  httpErrorHandler: error => console.warn('DICOMweb answered', error?.status),
};
