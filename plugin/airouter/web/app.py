"""The WSGI application: routes, guard, JSON errors and the OpenAPI document. It knows nothing of Orthanc."""

import json
from http import HTTPStatus

from flask import Response
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from airouter import __version__
from airouter.web import guard, problems
from airouter.web.audit import audit_routes, notice_views
from airouter.web.charts import chart_routes
from airouter.web.dicom_web import dicom_web_routes
from airouter.web.me import person_routes
from airouter.web.metrics import Metrics
from airouter.web.ohif import ohif_routes
from airouter.web.panel import panel_routes
from airouter.web.quality import quality_routes
from airouter.web.rescans import rescan_routes
from airouter.web.reviews import review_routes
from airouter.web.routes import FAILURES, routes
from airouter.web.schemas import ErrorView
from airouter.web.services import WebServices
from airouter.web.similar import similar_routes
from airouter.web.static import static_routes
from airouter.web.worklist import worklist_routes

_DOCUMENT = {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}


def create_app(services: WebServices, metrics: Metrics | None = None) -> OpenAPI:
    """The application over these services. `metrics` is shared with whoever tells it of ended jobs.

    A Metrics object belongs to one application: it is given what the application reads at every scrape.
    """
    metrics = metrics or Metrics()
    metrics.observe(services)
    app = OpenAPI(
        "airouter.web",
        info=Info(title="Orthanc AI Router", version=__version__, description="Not a medical device."),
        responses=FAILURES,
        validation_error_callback=problems.invalid,
        validation_error_model=ErrorView,
        doc_ui=False,  # its pages load assets; the document itself is a route of ours
        static_folder=None,
    )
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # no redirects: Orthanc has normalised the path already
    guard.register(app, services.access, services.refused)
    notice_views(app, services.viewed)
    problems.register(app)
    app.register_api(routes(services, metrics))
    app.register_api(similar_routes(services))
    app.register_api(rescan_routes(services))
    app.register_api(review_routes(services))
    app.register_api(quality_routes(services))
    app.register_api(chart_routes(services))
    app.register_api(audit_routes(services))
    app.register_api(person_routes())
    app.register_api(static_routes())
    app.register_api(worklist_routes(services))
    app.register_api(panel_routes(services))
    app.register_api(ohif_routes(services.viewer))
    app.register_api(dicom_web_routes(services))

    @app.get("/ai/openapi.json", summary="This interface as OpenAPI", responses={HTTPStatus.OK: _DOCUMENT})
    def openapi() -> Response:
        return Response(json.dumps(app.api_doc), mimetype="application/json")

    return app
