"""SQL, the same on both engines: the twin that is shown with an entity.

It comes along in the statement that reads the entity, by one look-up in the key of links; so lists cost no statement more.
"""


def external_id_of(row: str) -> str:
    """The key of the twin of the entity in `row`, in the system that its program works with; NULL without one."""
    return (
        f"(SELECT l.external_id FROM external_links l WHERE l.tenant_id = {row}.tenant_id AND l.guid = {row}.guid"
        f" AND l.system = (SELECT c.system FROM external_current c WHERE c.tenant_id = {row}.tenant_id))"
    )
