"""The routes. Each is a plain ``def``: the server runs it in a thread, and an orchestrator is safe in many."""

from typing import Annotated, Any
from urllib.parse import parse_qsl

import attrs
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader

from host_app import forms
from host_app.database import customer_name
from tenantcollect import ConfigurationError, Orchestrator

LONGEST_REQUEST = 60.0
"""Seconds after which the pass of a request claims nothing more; the next one goes on there."""

TEMPLATES = Environment(loader=PackageLoader("host_app"), autoescape=True)
router = APIRouter(prefix="/customers/{tenant_id}")


def the_orchestrator(request: Request) -> Orchestrator:
    """The one orchestrator of the app."""
    return request.app.state.orchestrator


def the_customer(tenant_id: str, request: Request) -> str:
    """The customer's name."""
    name = customer_name(request.app.state.engine, tenant_id)
    if name is None:
        raise HTTPException(404, "there is no such customer")
    return name


Collecting = Annotated[Orchestrator, Depends(the_orchestrator)]
Customer = Annotated[str, Depends(the_customer)]


def the_schema(data_source: str, orchestrator: Collecting) -> dict[str, Any]:
    """The JSON Schema of a data source's settings."""
    try:
        return orchestrator.config_schema(data_source)
    except ConfigurationError as error:
        raise HTTPException(404, str(error)) from None


async def the_form(request: Request) -> dict[str, str]:
    """The fields that a browser sent."""
    return dict(parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True))


Schema = Annotated[dict[str, Any], Depends(the_schema)]
Form = Annotated[dict[str, str], Depends(the_form)]


@router.get("/status")
def status(tenant_id: str, customer: Customer, orchestrator: Collecting) -> dict[str, Any]:
    """Where each collector of the customer stands, why, and what to do."""
    return {
        "customer": customer,
        "status": [attrs.asdict(row) for row in orchestrator.status(tenant_id)],
        "explain": [attrs.asdict(row) for row in orchestrator.explain(tenant_id)],
    }


@router.post("/run", dependencies=[Depends(the_customer)])
def run(tenant_id: str, orchestrator: Collecting) -> dict[str, Any]:
    """One pass for this customer; of two at once, each runs the windows that the other does not."""
    return attrs.asdict(orchestrator.run(tenant_id, max_duration=LONGEST_REQUEST))


@router.get("/{data_source}")
def settings(
    tenant_id: str, data_source: str, customer: Customer, schema: Schema, orchestrator: Collecting
) -> HTMLResponse:
    """The settings form."""
    stored = orchestrator.config(tenant_id, data_source)
    return page(customer, data_source, forms.fields(schema, stored, stored, {}))


@router.post("/{data_source}")
def save(
    tenant_id: str,
    data_source: str,
    customer: Customer,
    schema: Schema,
    form: Form,
    orchestrator: Collecting,
) -> Response:
    """Store the settings, or say at each field what is wrong with it."""
    env = forms.env(schema, form)
    try:
        orchestrator.configure(tenant_id, data_source, env)
    except ConfigurationError as error:
        shown = forms.fields(schema, env, orchestrator.config(tenant_id, data_source), error.fields)
        elsewhere = "; ".join(problem for key, problem in error.fields.items() if key not in schema["properties"])
        return page(customer, data_source, shown, elsewhere, status_code=422)
    return RedirectResponse(f"/customers/{tenant_id}/{data_source}", status_code=303)


def page(
    customer: str, data_source: str, fields: list[forms.Field], general: str = "", status_code: int = 200
) -> HTMLResponse:
    """The settings form as HTML; every value is escaped."""
    template = TEMPLATES.get_template("settings.html")
    html = template.render(customer=customer, data_source=data_source, fields=fields, general=general)
    return HTMLResponse(html, status_code=status_code)
