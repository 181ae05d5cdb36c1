"""The state of the cluster: nodes, lag, open runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ
from daemon.api.openapi import route_responses
from daemon.api.pagination import whole_list_response
from daemon.api.requests import backend_of
from daemon.api.response_models import ClusterStatus, NodePage
from daemon.api.responses import cluster_status, node_item

router = APIRouter(tags=["Cluster"])


@router.get(
    "/status",
    name="status_read",
    dependencies=READ,
    summary="Read the state of the cluster",
    responses=route_responses(ClusterStatus),
)
async def read_status(request: Request) -> Response:
    """Returns what is overdue, in progress, held and failed, and how many nodes are alive."""
    return JSONResponse(cluster_status(await backend_of(request).overview()))


@router.get(
    "/nodes",
    name="node_list",
    dependencies=READ,
    summary="List nodes",
    responses=route_responses(NodePage),
)
async def list_nodes(request: Request) -> Response:
    """Returns the nodes of this database by name: live ones, and lost ones with open runs."""
    nodes = (await backend_of(request).overview()).nodes
    return whole_list_response([node_item(node) for node in nodes])
