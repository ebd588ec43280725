"""Contacts that nobody touched for CONTACTAPI_RETENTION_DAYS are deleted."""

import functools

from contactapi import (
    ACCEPTED,
    DAY,
    Api,
    Config,
    Records,
    Services,
    Setting,
    a_number,
    log,
    micros,
)

ABOUT = "contacts that nobody touched for so long are deleted"
SETTINGS = {"CONTACTAPI_RETENTION_DAYS": Setting(a_number(1, 36500), None, ABOUT)}

# An accepted submission touches its contact, though it may have changed nothing of it.
UNTOUCHED = (
    "updated_at < ?2 AND NOT EXISTS (SELECT 1 FROM submission WHERE "
    f"contact_id = contact.id AND state = '{ACCEPTED}' AND submission.created_at >= ?2)"
)


def setup(app: Api, services: Services, config: Config) -> None:
    work = functools.partial(delete_untouched, services.contacts, config.retention_days)
    services.hourly.append(work)


def delete_untouched(contacts: Records, days: int) -> None:
    """In every workspace."""
    before = micros(contacts.clock()) - days * DAY
    callers = contacts.retention()
    gone = sum(contacts.delete_some(one, UNTOUCHED, before) for one in callers)
    if gone:
        log.info("retention: %d contacts deleted", gone)
