"""What a program says about its OpenSPP V1."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from datacollect.adapters.openspp_v1.odoo import WRITE_SECONDS
from datacollect.adapters.options import AdapterOptions, at_most

_Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class OpenSppV1Options(AdapterOptions):
    database: _Text = Field(title="Database", description="The name of Odoo's database.", examples=["openspp"])
    username: _Text = Field(title="Username", description="A user of its own, with the rights of a registrar.")
    password: SecretStr = Field(title="Password", min_length=1, description="Its password, or an API key of it.")
    registrar_group: str | None = Field(
        None,
        title="Registrar group",
        max_length=200,
        description="The technical name of a group that the user must be in; without one its rights alone count.",
        examples=["group_g2p_registrar"],
    )
    batch_size: Annotated[int, at_most(500)] = Field(
        50, title="Batch size", ge=1, description="Records that are sent at once."
    )
    batch_delay_ms: Annotated[int, at_most(60_000)] = Field(
        1000, title="Pause between batches (ms)", ge=0, description="0 for a registry that can take more."
    )
    max_retries: Annotated[int, at_most(10)] = Field(
        2, title="Retries", ge=0, description="How often a call is made again that found the registry away."
    )
    write_seconds: float = Field(
        WRITE_SECONDS,
        title="Longest write (s)",
        ge=1,
        le=250,  # a call of an adapter is cut off after five minutes
        description="Somewhat longer than Odoo lets a request run (`limit_time_real`, 120 s unless set otherwise): so long"
        " an answer is waited for, and what was not answered may still come about.",
    )
    reference_field: _FieldName = Field(
        "ref",
        title="Reference field",
        description="The field of `res.partner` that holds the hub's id of a record, so that none is made twice.",
    )
    groups: bool = Field(True, title="Groups", description="Whether households and their members are exchanged too.")
    deletes: Literal["keep", "archive"] = Field(
        "keep",
        title="Deleted records",
        description="`archive`: what is deleted here is archived there, and what is archived there is deleted here.",
    )
