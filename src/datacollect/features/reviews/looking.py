"""What of the reviews somebody may see, and what stands in the way of each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from datacollect.db import Reading
from datacollect.features.entities.links.service import states_of
from datacollect.features.entities.service import events_within_reach, within_reach
from datacollect.features.reviews import queries
from datacollect.features.reviews.errors import NotSubmitter, ReviewNotFound
from datacollect.features.reviews.model import (
    Delegation,
    FieldConflict,
    Policy,
    Review,
    Status,
    conflicts_of,
    is_gone,
    staff_key,
)
from datacollect.features.reviews.queries import Filters, Key
from datacollect.kernel.identity import MINIMUM_ROLE, Action, TenantScope

_EXAMINED = 500
"""Reviews that are looked at by one statement, when some are left out after looking."""
_MOST_EXAMINED = 5000
"""And for one page."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record that a review is about says to it."""

    conflicts: Sequence[FieldConflict] = ()
    is_gone: bool = False


NOTHING = Standing()


@dataclass(frozen=True, slots=True)
class Page:
    reviews: Sequence[Review]
    standings: Mapping[str, Standing]
    """By id; of those that wait."""
    delegations: Mapping[str, Delegation]
    read_in_full: Collection[str]
    """As `read_in_full` tells."""
    following: Key | None


async def list_reviews(view: Reading, scope: TenantScope, filters: Filters, *, after: Key | None, limit: int) -> Page:
    """A page, the oldest first; shorter than asked for where submissions are large. Who is limited to areas gets what they could apply, and what they have submitted; for
    them it is read on until the page is full, or so many have been looked at that they have to ask again."""
    reviews: list[Review] = []
    looked_at, following = 0, None
    while True:
        wanted = limit + 1 - len(reviews) if not scope.reach.is_bounded else max(_EXAMINED, limit + 1)
        found, is_cut = await queries.list_oldest(view, scope, filters, after=after, limit=wanted)
        visible = await visible_of(view, scope, found)
        reviews += [review for review in found if review.id in visible]
        looked_at += len(found)
        if len(reviews) > limit or (len(found) < wanted and not is_cut):
            break
        after = (found[-1].created_at, found[-1].id)
        if is_cut or looked_at >= _MOST_EXAMINED:
            following = after
            break
    page = reviews[:limit]
    if len(reviews) > limit:
        following = (page[-1].created_at, page[-1].id)
    standings, delegations = await standings_of(view, scope, page), await _delegations(view, scope, page)
    return Page(page, standings, delegations, await read_in_full(view, scope, page), following)


async def visible_of(view: Reading, scope: TenantScope, reviews: Sequence[Review]) -> Collection[str]:
    """The ids of those that the caller may see."""
    if not scope.reach.is_bounded or not reviews:
        return {review.id for review in reviews}
    events = [review.event for review in reviews if not review.standalone]
    appendable = await events_within_reach(view, scope, events)
    held = await within_reach(view, scope, [review.entity_guid for review in reviews if review.standalone])
    mine = staff_key(scope.actor)
    return {
        review.id
        for review in reviews
        if review.submitter_key == mine
        or (review.entity_guid in held if review.standalone else review.event.guid in appendable)
    }


async def get(view: Reading, scope: TenantScope, id: str) -> Review:
    """Raises `ReviewNotFound`, also for what is beyond the caller's reach."""
    review = await queries.find(view, scope, id)
    if review is None or review.id not in await visible_of(view, scope, [review]):
        raise ReviewNotFound()
    return review


async def read_in_full(view: Reading, scope: TenantScope, reviews: Sequence[Review]) -> Collection[str]:
    """The ids of those, among what the caller sees, of which they may read what they say of people: who may decide, and
    who has submitted them."""
    deciding = scope.held_as(MINIMUM_ROLE[Action.APPROVE])
    if deciding is None:
        return {review.id for review in reviews if review.submitter_key == staff_key(scope.actor)}
    if deciding.reach == scope.reach:
        return {review.id for review in reviews}
    return await visible_of(view, deciding, reviews)


async def require_read_all(view: Reading, scope: TenantScope, review: Review) -> None:
    """Raises `NotSubmitter`."""
    if review.id not in await read_in_full(view, scope, [review]):
        raise NotSubmitter()


async def around(view: Reading, scope: TenantScope, review: Review) -> Page:
    """One, with what stands in its way and how it stands with the other system."""
    standings, delegations = await standings_of(view, scope, [review]), await _delegations(view, scope, [review])
    return Page([review], standings, delegations, await read_in_full(view, scope, [review]), None)


async def standings_of(view: Reading, scope: TenantScope, reviews: Sequence[Review]) -> Mapping[str, Standing]:
    waiting = [review for review in reviews if review.status is Status.PENDING]
    if not waiting:
        return {}
    held = await states_of(view, scope, {review.entity_guid for review in waiting})
    return {
        review.id: Standing(conflicts_of(review, found), is_gone(review, found))
        for review in waiting
        for found in [held.get(review.entity_guid)]
    }


async def _delegations(view: Reading, scope: TenantScope, reviews: Sequence[Review]) -> Mapping[str, Delegation]:
    ids = [review.id for review in reviews if review.policy is Policy.EXTERNAL_DELEGATE]
    return await queries.find_delegations(view, scope, ids) if ids else {}
